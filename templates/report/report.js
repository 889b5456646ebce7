// Draws each chart when it comes into view, in the colours of the page; sorts and filters tables.
(() => {
"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const drawn = new Set();
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

const narrow = (element) => element.clientWidth < 480;

const paint = (figure, element) => {
  const text = color("text"), line = color("line");
  const data = figure.data.map((trace) => {
    const own = trace.meta.color === "star" ? color("star") : color("s" + trace.meta.color);
    const painted = { ...trace, marker: { ...trace.marker, color: own } };
    if (trace.type !== "bar") painted.line = { ...trace.line, color: own };
    return painted;
  });
  const axis = (given) => ({
    ...given, gridcolor: line, zerolinecolor: line, linecolor: line,
    title: { ...given.title, font: { size: 13 }, standoff: 10 },
  });
  const few = narrow(element);
  const layout = {
    ...figure.layout,
    xaxis: { ...axis(figure.layout.xaxis), nticks: few ? 5 : 8 },
    yaxis: axis(figure.layout.yaxis),
    shapes: figure.layout.shapes.map((s) => ({ ...s, line: { ...s.line, color: color("bad") } })),
    annotations: figure.layout.annotations.map((a) => ({ ...a, font: { color: color("bad"), size: 12 } })),
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, size: 12, family: getComputedStyle(document.body).fontFamily },
    margin: { l: 48, r: 12, t: 26, b: 44 },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, xref: "paper", font: { size: 12 } },
    hoverlabel: { namelength: -1, bgcolor: color("card"), bordercolor: line, font: { color: text } },
    hovermode: "closest",
    modebar: { color: color("muted"), activecolor: color("accent"), bgcolor: "rgba(0,0,0,0)" },
    // On a touch screen a finger scrolls the page.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
  };
  return [data, layout];
};

const config = (element) => ({
  responsive: true, displaylogo: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  toImageButtonOptions: { filename: element.dataset.file, scale: 2 },
});

const legendHeight = (figure, element) => {
  if (!figure.layout.showlegend) return 0;
  const width = Math.max(element.clientWidth - 60, 200);
  let rows = 1, used = 0;
  for (const trace of figure.data) {
    const needs = 60 + 7 * trace.name.length;
    if (used && used + needs > width) { rows += 1; used = 0; }
    used += needs;
  }
  return Math.min(rows, 9) * 20 + 6;
};

const draw = (element) => {
  if (drawn.has(element)) return;
  drawn.add(element);
  const figure = figures[element.dataset.number];
  const extra = legendHeight(figure, element);
  element.style.height = (narrow(element) ? 270 : 320) + extra + "px";
  const [data, layout] = paint(figure, element);
  layout.margin.b += extra;
  Plotly.newPlot(element, data, layout, config(element)).then(() => { element.dataset.drawn = "yes"; });
};

const charts = [...document.querySelectorAll(".chart")];
const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { watch.unobserve(entry.target); draw(entry.target); }
}, { rootMargin: "300px" });
charts.forEach((element) => watch.observe(element));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const element of drawn) {
    const [data, layout] = paint(figures[element.dataset.number], element);
    layout.margin.b += legendHeight(figures[element.dataset.number], element);
    Plotly.react(element, data, layout, config(element));
  }
});
addEventListener("beforeprint", () => charts.forEach(draw));

const number = (text) => parseFloat(text.replace(/,/g, ""));
const compare = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (!isNaN(x) && !isNaN(y) && x !== y) return x - y;
  return a.localeCompare(b, "en", { numeric: true });
};
for (const table of document.querySelectorAll("table.sorted")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.firstElementChild.addEventListener("click", () => {
      const sign = cell.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...body.rows];
      const text = (row) => row.cells[column].textContent;
      // Empty cells stay last.
      rows.sort((a, b) => (text(a) === "") - (text(b) === "") || sign * compare(text(a), text(b)));
      body.append(...rows);
    });
  });
}
for (const filter of document.querySelectorAll(".filter")) {
  filter.hidden = false;
  const rows = [...filter.parentElement.querySelectorAll("tbody tr")];
  const [input, output] = [filter.querySelector("input"), filter.querySelector("output")];
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = ![...row.cells].some((cell) => cell.textContent.toLowerCase().includes(wanted));
      count += !row.hidden;
    }
    output.textContent = `${count} of ${rows.length}`;
  });
}
})();
