"use strict";
(() => {
  const sheet = document.body.dataset.sheet;
  const store = `sftflow sheet ${sheet}`;
  const rater = document.getElementById("rater");
  const articles = Array.from(document.querySelectorAll("article"));
  const criteria = Array.from(articles[0].querySelectorAll("fieldset"), (f) => f.dataset.criterion);

  const scoresOf = (article) => Object.fromEntries(Array.from(
    article.querySelectorAll("input:checked"),
    (input) => [input.closest("fieldset").dataset.criterion, Number(input.value)],
  ));
  const ratings = () => articles.map((article) => ({
    item: article.dataset.item,
    ...scoresOf(article),
    comment: article.querySelector(".comment").value,
  }));

  const tell = () => {
    let done = 0;
    for (const article of articles) {
      const whole = Object.keys(scoresOf(article)).length === criteria.length;
      article.classList.toggle("done", whole);
      done += whole ? 1 : 0;
    }
    document.getElementById("progress").textContent = `${done} of ${articles.length} answers scored`;
  };
  const keep = () => {
    try {
      localStorage.setItem(store, JSON.stringify({ rater: rater.value, ratings: ratings() }));
    } catch (error) { // a browser that keeps nothing: what is on the page can still be saved
      document.getElementById("progress").title = String(error);
    }
    tell();
  };
  const recall = () => {
    let known = null;
    try { known = JSON.parse(localStorage.getItem(store)); } catch (error) { known = null; }
    if (!known) return;
    rater.value = known.rater || "";
    for (const one of known.ratings || []) {
      const article = articles.find((node) => node.dataset.item === one.item);
      if (!article) continue;
      article.querySelector(".comment").value = one.comment || "";
      for (const name of criteria) {
        const input = article.querySelector(`input[name="${one.item}-${name}"][value="${one[name]}"]`);
        if (input) input.checked = true;
      }
    }
  };

  const cell = (value) => {
    let text = value === undefined || value === null ? "" : String(value);
    if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`; // else a spreadsheet would run it
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const table = () => {
    const columns = ["item", ...criteria, "comment", "rater"];
    const rows = ratings().map((one) => columns.map((name) => (name === "rater" ? rater.value : one[name])));
    return "\ufeff" + [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
  };
  const save = (text, type, end) => {
    if (!rater.value.trim()) {
      rater.focus();
      document.getElementById("progress").textContent = "Please write your name first.";
      return;
    }
    const link = document.createElement("a");
    const name = rater.value.trim().replace(/[^\p{L}\p{N}]+/gu, "-");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = `sheet-${sheet}-${name}.${end}`;
    link.click();
    URL.revokeObjectURL(link.href);
  };

  document.addEventListener("input", keep);
  // A second click on a score takes it back.
  document.addEventListener("click", (event) => {
    const input = event.target;
    if (!(input instanceof HTMLInputElement) || input.type !== "radio") return;
    const again = input.dataset.chosen === "yes";
    for (const other of input.closest("fieldset").querySelectorAll("input")) delete other.dataset.chosen;
    input.checked = !again;
    if (!again) input.dataset.chosen = "yes";
    keep();
  });
  document.getElementById("next").addEventListener("click", () => {
    const open = articles.find((article) => !article.classList.contains("done"));
    if (open) open.scrollIntoView();
  });
  document.getElementById("save-csv").addEventListener("click", () => save(table(), "text/csv", "csv"));
  document.getElementById("save-json").addEventListener("click", () => {
    save(JSON.stringify({ sheet, rater: rater.value, ratings: ratings() }, null, 1), "application/json", "json");
  });
  recall();
  for (const input of document.querySelectorAll("input:checked")) input.dataset.chosen = "yes";
  tell();
  document.documentElement.dataset.drawn = "all"; // as on the report: the page is ready
})();
