"use strict";
(() => {
  const islands = document.querySelectorAll('script[type="application/json"][data-plot]');
  const drawing = Array.from(islands, async (island) => {
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
  });
  Promise.all(drawing).then(() => { document.documentElement.dataset.drawn = "all"; });

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

  // What is drawn out of sight has no width until it is seen.
  const resized = () => window.dispatchEvent(new Event("resize"));
  for (const node of document.querySelectorAll("details")) {
    node.addEventListener("toggle", resized);
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
