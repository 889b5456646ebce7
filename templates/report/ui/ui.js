"use strict";
// Pages work without it: it filters tables, and loads a chosen model's inputs.
for (const input of document.querySelectorAll("input[data-filters]")) {
  const table = document.getElementById(input.dataset.filters);
  const shown = document.getElementById(input.dataset.counts);
  input.closest("[hidden]").hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let count = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${table.tBodies[0].rows.length} shown`;
  });
}
for (const form of document.querySelectorAll("form[data-waits]")) {
  form.addEventListener("submit", () => {
    document.getElementById(form.dataset.waits).textContent = "Waiting for the response …";
  });
}
