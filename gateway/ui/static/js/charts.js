// Small charts in SVG that take the page's colours, each with its figures as a table behind it.

import { h, svg } from "./dom.js";
import { known } from "./format.js";

const LEFT = 52;
const RIGHT = 14;
const TOP = 12;
const BOTTOM = 40;

/** Stroke of series 1, 2, 3 …: told apart without colour too. */
const DASHES = [null, "7 4", "2 4", "10 3 2 3"];

/**
 * Lines over turns with a band for each interval, as wide as there is room.
 *
 * `series`: `[{name, colour, points: [{x, y, low, high}]}]`, `colour` being 0, 1, 2 …; unknown points are gaps.
 * `options`: `{title, xLabel, format, top, height}`; `top` is the value at the upper edge, else the largest one.
 * Null when no point is known.
 */
export function lineChart(series, { title, xLabel = "turn", format = String, top = null, height = 250 }) {
  const points = series.flatMap((one) => one.points).filter((point) => known(point.y));
  if (!points.length) return null;
  const highest = top ?? niceTop(Math.max(...points.map((point) => point.high ?? point.y)));
  const place = h("div", { class: "plot", style: { "min-height": `${height}px` } });
  const label = `${title}: ${series.map((one) => described(one, format)).join("; ")}`;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width) place.replaceChildren(plot(series, points, { label, xLabel, format, highest, height, width: contentRect.width }));
  }).observe(place);
  return h("figure", { class: "chart" }, h("figcaption", {}, title), keys(series), place, asTable(series, xLabel, format, title));
}

function plot(series, points, { label, xLabel, format, highest, height, width }) {
  const xs = points.map((point) => point.x);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const x = (value) => LEFT + ((value - first) / Math.max(1e-9, last - first)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - Math.min(value, highest) / highest) * (height - TOP - BOTTOM);
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label },
    ...[0, 0.25, 0.5, 0.75, 1].flatMap((part) => gridLine(y(part * highest), format(part * highest), width)),
    ...ticks(first, last).map((tick) => svg("text", { x: x(tick), y: height - 22, class: "tick middle" }, String(tick))),
    svg("text", { x: (LEFT + width - RIGHT) / 2, y: height - 3, class: "tick middle" }, xLabel),
    ...series.map((one) => band(one, x, y)),
    ...series.map((one) => line(one, x, y)),
  );
}

/** A line without axes; `label` says in words what it shows. */
export function sparkline(values, label, { width = 160, height = 36 } = {}) {
  const there = values.filter(known);
  const highest = Math.max(...there, 1e-9);
  const step = width / Math.max(1, values.length - 1);
  const at = values.map((value, index) => (known(value) ? `${index * step},${height - 2 - (value / highest) * (height - 4)}` : null));
  const drawn = at.filter(Boolean);
  const area = drawn.length > 1 ? `${drawn[0].split(",")[0]},${height} ${drawn.join(" ")} ${drawn.at(-1).split(",")[0]},${height}` : "";
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "spark", role: "img", "aria-label": label, preserveAspectRatio: "none" },
    area && svg("polygon", { points: area, class: "spark-area" }),
    drawn.length > 1 && svg("polyline", { points: drawn.join(" "), class: "spark-line" }),
  );
}

/** Names and strokes of the series. */
export function keys(series) {
  if (series.length < 2 && !series[0]?.name) return null;
  return h(
    "p",
    { class: "legend" },
    ...series.map((one) =>
      h("span", { class: `arm arm-${one.colour}` }, svg("svg", { viewBox: "0 0 26 8", class: "stroke", "aria-hidden": "true" }, stroke(one, "M0 4H26")), one.name),
    ),
  );
}

function stroke(one, path) {
  return svg("path", { d: path, class: `line colour-${one.colour}`, "stroke-dasharray": DASHES[one.colour % DASHES.length] });
}

function line(one, x, y) {
  return svg(
    "g",
    {},
    ...runs(one.points).map((run) => stroke(one, `M${run.map((point) => `${x(point.x)} ${y(point.y)}`).join("L")}`)),
    ...one.points.filter((point) => known(point.y)).map((point) => svg("circle", { cx: x(point.x), cy: y(point.y), r: 2.6, class: `dot colour-${one.colour}` })),
  );
}

function band(one, x, y) {
  const there = runs(one.points).filter((run) => run.every((point) => known(point.low) && known(point.high)));
  return svg(
    "g",
    {},
    ...there.map((run) => {
      const upper = run.map((point) => `${x(point.x)},${y(point.high)}`);
      const lower = run.map((point) => `${x(point.x)},${y(point.low)}`).reverse();
      return svg("polygon", { points: [...upper, ...lower].join(" "), class: `band colour-${one.colour}` });
    }),
  );
}

function runs(points) {
  const found = [[]];
  for (const point of points) {
    if (known(point.y)) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length);
}

function gridLine(y, text, width) {
  return [svg("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: "grid" }), svg("text", { x: LEFT - 8, y: y + 4, class: "tick end" }, text)];
}

function ticks(first, last) {
  const step = [1, 2, 5, 10, 20, 50, 100].find((one) => (last - first) / one <= 10) ?? last - first;
  const found = [first];
  for (let tick = Math.ceil((first + 1) / step) * step; tick <= last; tick += step) found.push(tick);
  return found;
}

/** The least of 1, 2, 4, 6, 8, 10 … that is not below: a quarter of it is a round figure. */
function niceTop(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 4, 6, 8, 10].map((step) => step * unit).find((step) => step >= value);
}

function described(one, format) {
  const there = one.points.filter((point) => known(point.y));
  return there.length ? `${one.name || "value"} from ${format(there[0].y)} to ${format(there.at(-1).y)}` : `${one.name} unknown`;
}

function asTable(series, xLabel, format, title) {
  const rows = [...new Set(series.flatMap((one) => one.points.map((point) => point.x)))].sort((a, b) => a - b);
  const cell = (point) => (point && known(point.y) ? format(point.y) + (known(point.low) ? ` [${format(point.low)}, ${format(point.high)}]` : "") : "–");
  return h(
    "details",
    {},
    h("summary", {}, "The figures"),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, the figures` },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, xLabel), ...series.map((one) => h("th", { scope: "col", class: "number" }, one.name || "value")))),
        h("tbody", {}, ...rows.map((x) => h("tr", {}, h("th", { scope: "row" }, String(x)), ...series.map((one) => h("td", { class: "number" }, cell(one.points.find((point) => point.x === x))))))),
      ),
    ),
  );
}
