"use strict";
(() => {
  const islands = Array.from(document.querySelectorAll('script[type="application/json"][data-plot]'));
  const waiting = new Set(islands);
  const draw = async (island) => {
    if (!waiting.delete(island)) return;
    const place = document.getElementById(island.dataset.plot);
    try {
      // ast: expressions are interpreted, so the page's policy needs no eval.
      await window.vegaEmbed(place, JSON.parse(island.textContent), {
        mode: "vega-lite", ast: true, renderer: "svg", actions: false,
      });
      place.dataset.drawn = "yes";
    } catch (error) {
      place.textContent = `This plot could not be drawn: ${error.message}`;
      console.error(island.dataset.plot, error);
    }
  };
  const folded = (island) => island.closest("details:not([open])") !== null;

  // What the reader looks at first; the rest a plot at a time, so that the page answers meanwhile.
  // Of fifty models nearly all plots are folded away: these are drawn when opened, or for paper
  // while nothing else is to be done.
  const near = (island) => {
    const place = document.getElementById(island.dataset.plot);
    return place.getBoundingClientRect().top < 2 * window.innerHeight;
  };
  const turn = () => new Promise((done) => setTimeout(done));
  const idle = () => new Promise((done) => (window.requestIdleCallback || setTimeout)(done));
  const open = islands.filter((island) => !folded(island));
  Promise.all(open.filter(near).map(draw)).then(async () => {
    document.documentElement.dataset.drawn = "near";
    for (const island of open) {
      await turn();
      await draw(island);
    }
    document.documentElement.dataset.drawn = "all";
    for (const island of islands.filter((one) => waiting.has(one))) {
      await idle();
      await draw(island);
    }
    document.documentElement.dataset.folded = "drawn";
  });

  const search = document.getElementById("search");
  if (search) {
    const samples = Array.from(document.querySelectorAll(".sample"), (node) => [
      node, node.textContent.toLowerCase(),
    ]);
    const found = document.getElementById("found");
    search.hidden = false;
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [node, text] of samples) {
        node.hidden = !words.every((word) => text.includes(word));
        shown += node.hidden ? 0 : 1;
      }
      found.textContent = words.length ? `${shown} of ${samples.length}` : "";
    });
  }

  // What was drawn out of sight has no width until it is seen.
  const resized = () => window.dispatchEvent(new Event("resize"));
  for (const node of document.querySelectorAll("details")) {
    node.addEventListener("toggle", () => {
      islands.filter((island) => node.contains(island) && !folded(island)).forEach(draw);
      resized();
    });
  }

  // Paper has no triangle to click on.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    for (const node of opened) node.open = true;
    resized();
  });
  window.addEventListener("afterprint", () => {
    for (const node of opened) node.open = false;
  });
})();
