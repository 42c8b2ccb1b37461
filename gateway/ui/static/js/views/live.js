// What the gateway is doing now, from its own metrics.

import * as api from "../api.js";
import { sparkline } from "../charts.js";
import { fill, h } from "../dom.js";
import { count, milliseconds, percent, rate, usd } from "../format.js";
import { buckets, parse, quantile, total } from "../metrics.js";

const EVERY_MS = 2000;
const KEPT = 150;

/** Rates are over the readings of about so long. */
const OVER_MS = 10_000;

export async function view(root) {
  const live = new Live();
  fill(root, live.element);
  await live.read();
  const timer = setInterval(() => document.hidden || live.read(), EVERY_MS);
  return () => {
    clearInterval(timer);
    live.stop();
  };
}

class Live {
  constructor() {
    this.readings = [];
    this.history = Object.fromEntries(TILES.map(([name]) => [name, []]));
    this.controller = new AbortController();
    this.tiles = h("dl", { class: "tiles" });
    this.arms = h("tbody", {});
    this.status = h("p", { class: "muted", role: "status" });
    this.element = h(
      "div",
      { class: "stack" },
      h("h1", {}, "Live"),
      h("p", { class: "lead" }, "Rates over the last ten seconds, totals since the gateway started."),
      this.tiles,
      h(
        "section",
        { class: "card", "aria-labelledby": "arms" },
        h("h2", { id: "arms" }, "Arms and models"),
        h(
          "div",
          { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of arms and models" },
          h("table", {}, h("thead", {}, h("tr", {}, ...ARM_COLUMNS.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)))), this.arms),
        ),
      ),
      this.status,
    );
  }

  stop() {
    this.controller.abort();
  }

  async read() {
    try {
      const series = parse(await api.getText("/metrics", this.controller.signal));
      this.readings.push({ at: performance.now(), series });
      this.readings = this.readings.slice(-KEPT);
      this.#show();
      this.status.textContent = "";
    } catch (error) {
      if (error.name !== "AbortError") this.status.textContent = error.message;
    }
  }

  #show() {
    const now = this.readings.at(-1);
    const before = this.readings.findLast((one) => now.at - one.at >= OVER_MS) ?? this.readings[0];
    const span = before === now ? null : { now: now.series, before: before.series, seconds: (now.at - before.at) / 1000 };
    const cells = TILES.map(([name, measure, format, detail]) => {
      const value = measure(now.series, span);
      this.history[name].push(value);
      this.history[name] = this.history[name].slice(-KEPT);
      return h("div", { class: "tile card" }, h("dt", {}, name), h("dd", {}, h("strong", {}, format(value)), h("span", { class: "muted" }, detail(now.series)), sparkline(this.history[name], `${name}, the last ${count(this.history[name].length)} readings`)));
    });
    fill(this.tiles, ...cells);
    fill(this.arms, ...arms(now.series).map((arm) => h("tr", {}, ...ARM_COLUMNS.map(([, kind, cell]) => h("td", { class: kind }, cell(now.series, arm))))));
  }
}

const perSecond = (name, labels) => (_, span) => (span ? Math.max(0, (total(span.now, name, labels) ?? 0) - (total(span.before, name, labels) ?? 0)) / span.seconds : null);

const TILES = [
  ["Requests a second", perSecond("gattway_requests_total"), rate, (series) => `${count(total(series, "gattway_requests_total") ?? 0)} in all`],
  ["Being answered", (series) => total(series, "gattway_in_flight_requests"), count, () => "requests now"],
  ["Tokens written a second", perSecond("gattway_tokens_total", { kind: "completion" }), rate, (series) => `${count(total(series, "gattway_tokens_total", { kind: "completion" }) ?? 0)} in all`],
  ["Tokens read a second", perSecond("gattway_tokens_total", { kind: "prompt" }), rate, (series) => `${count(total(series, "gattway_tokens_total", { kind: "prompt" }) ?? 0)} in all`],
  ["Cost an hour, at this pace", (series, span) => scaled(perSecond("gattway_cost_usd_total")(series, span), 3600), usd, (series) => `${usd(total(series, "gattway_cost_usd_total") ?? 0)} in all`],
  ["First token, median", (series, span) => scaled(span && quantile(span.now, span.before, "gattway_time_to_first_token_seconds", 0.5), 1000), milliseconds, (series) => `${milliseconds(scaled(quantile(series, null, "gattway_time_to_first_token_seconds", 0.95), 1000))} for 95 % in all`],
];

const scaled = (value, factor) => (value === null || value === undefined ? null : value * factor);

const ARM_COLUMNS = [
  ["Arm", "", (_, arm) => (arm.arm ? h("span", { class: "chip" }, arm.arm) : h("span", { class: "muted" }, "named directly"))],
  ["Model", "", (_, arm) => arm.model],
  ["Requests", "number", (series, arm) => count(total(series, "gattway_requests_total", arm))],
  ["Read", "number", (series, arm) => count(total(series, "gattway_tokens_total", { ...arm, kind: "prompt" }))],
  ["Cached", "number", (series, arm) => share(series, arm, "cached")],
  ["Repetition", "number", (series, arm) => share(series, arm, "repeated_instruction")],
  ["Written", "number", (series, arm) => count(total(series, "gattway_tokens_total", { ...arm, kind: "completion" }))],
  ["Cost", "number", (series, arm) => usd(total(series, "gattway_cost_usd_total", arm))],
  ["Windows", "", (series, arm) => windows(series, arm)],
];

function arms(series) {
  const found = new Map();
  for (const { labels } of series.get("gattway_requests_total") ?? []) {
    const arm = { experiment: labels.experiment, arm: labels.arm, model: labels.model };
    found.set(JSON.stringify(arm), arm);
  }
  return [...found.values()];
}

function share(series, arm, kind) {
  const read = total(series, "gattway_tokens_total", { ...arm, kind: "prompt" });
  return read ? percent((total(series, "gattway_tokens_total", { ...arm, kind }) ?? 0) / read) : "–";
}

/** How full the windows were: a bar for every tenth. */
function windows(series, arm) {
  const bounds = [...buckets(series, "gattway_context_used_ratio", arm)].sort((a, b) => a[0] - b[0]).filter(([bound]) => bound !== 0.95);
  const counts = bounds.map(([, value], index) => value - (index ? bounds[index - 1][1] : 0));
  const most = Math.max(...counts, 1);
  const label = bounds.map(([bound], index) => `to ${bound === Infinity ? "beyond" : percent(bound)}: ${count(counts[index])}`).join(", ");
  return h("span", { class: "histogram", role: "img", "aria-label": `Turns by window used, ${label}` }, ...counts.map((one) => h("span", { style: { height: `${(one / most) * 100}%` } })));
}
