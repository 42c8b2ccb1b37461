// Where the two embedded models look while they answer: the untuned one beside the one that Ghost Attention tuned.

import * as api from "../api.js";
import { lineChart } from "../charts.js";
import { field, fill, h, note, select } from "../dom.js";
import { count, percent } from "../format.js";

/** Dark to bright in even steps of lightness, readable without colour; ends of inferno-like scales. */
const SCALE = [[9, 7, 32], [66, 23, 96], [132, 34, 107], [196, 60, 78], [237, 121, 46], [249, 200, 77], [252, 255, 190]];

export async function view(root, params) {
  const list = (await api.page("maps/index.json")).data;
  const place = h("div", { class: "stack" });
  const picker = select(list.map((one) => [one.id, one.title]), params.get("dialogue") ?? list[0]?.id, { onchange: () => show() });
  const show = async () => {
    const measured = await api.page(`maps/${encodeURIComponent(picker.value)}.json`);
    fill(place, ...drawn(measured));
    history.replaceState(null, "", `#/attention?dialogue=${encodeURIComponent(picker.value)}`);
  };
  fill(
    root,
    h("h1", {}, "Attention"),
    h("p", { class: "lead" }, "A conversation of 20 turns whose instruction stands only at its beginning. Before tuning, the model soon looks at it no more; after Ghost Attention it does at every turn."),
    list.length ? h("div", { class: "card" }, field("Dialogue", picker)) : note("This gateway ships no maps."),
    place,
  );
  if (list.length) await show();
}

function drawn(measured) {
  const models = Object.entries(measured.models);
  const turns = measured.spans.answers.length;
  const series = (column) =>
    models.map(([name, one], index) => ({ name, colour: index === 0 ? 2 : 0, points: one[column].map((y, turn) => ({ x: turn + 1, y })) }));
  return [
    h(
      "section",
      { class: "card", "aria-labelledby": "maps" },
      h("h2", { id: "maps" }, "Who looks where"),
      h("div", { class: "maps" }, ...models.map(([name, one]) => map(name, one, measured))),
      scale(measured.least),
      h("p", { class: "muted" }, `${count(measured.tokens)} tokens, ${turns} turns, ${models[0][1].bin_tokens} tokens a dot. Rows look, columns are looked at; a dot is the highest attention over all layers and heads. The instruction is the leftmost strip, between the marks.`),
    ),
    h(
      "section",
      { class: "charts" },
      h("div", { class: "card" }, lineChart(series("instruction_peak_by_turn"), { title: "Highest attention on the instruction, by turn", format: (value) => percent(value) })),
      h("div", { class: "card" }, lineChart(series("instruction_share_by_turn"), { title: "The instruction's share of all attention, by turn", format: (value) => percent(value, 1) })),
    ),
  ];
}

function map(name, one, measured) {
  const levels = Uint8Array.from(atob(one.map.levels), (letter) => letter.charCodeAt(0));
  const peaks = one.instruction_peak_by_turn.map((value) => percent(value));
  const canvas = h("canvas", { role: "img", "aria-label": `Attention map of ${name}. Highest attention on the instruction: ${peaks[0]} at turn 1, ${peaks.at(-1)} at turn ${peaks.length}.` });
  canvas.width = canvas.height = one.map.side;
  paint(canvas, levels, (index) => index % one.map.side > Math.floor(index / one.map.side));
  const span = measured.spans.instruction[0];
  const marks = span && h("span", { class: "span", style: { left: `${share(span[0])}%`, width: `${share(span[1] - span[0])}%` } });
  function share(tokens) {
    return (100 * tokens) / (one.map.side * one.bin_tokens);
  }
  return h("figure", {}, h("figcaption", {}, name), h("div", { class: "ruler", "aria-hidden": "true" }, marks), canvas);
}

/** What is above the diagonal is the future: nothing is there to be looked at. */
function paint(canvas, levels, isFuture) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  levels.forEach((level, index) => image.data.set(isFuture(index) ? [0, 0, 0, 0] : [...colour(level / 255), 255], index * 4));
  context.putImageData(image, 0, 0);
}

function colour(part) {
  const at = part * (SCALE.length - 1);
  const low = Math.min(Math.floor(at), SCALE.length - 2);
  return SCALE[low].map((value, channel) => Math.round(value + (SCALE[low + 1][channel] - value) * (at - low)));
}

function scale(least) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  canvas.width = 256;
  canvas.height = 1;
  paint(canvas, Uint8Array.from({ length: 256 }, (_, index) => index), () => false);
  return h("p", { class: "scale" }, h("span", {}, `Attention ${percent(least, 1)}`), canvas, h("span", {}, "100 %"));
}
