// One conversation: its window turn by turn, what it cost, what it would have cost otherwise, and what was sent.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { count, known, milliseconds, percent, plural, usd, when } from "../format.js";
import { legend, windowBar } from "../window-bar.js";
import { sent } from "./sent.js";

export async function view(root, params) {
  const id = params.get("id") ?? "";
  const one = await api.get(`/api/conversations/${encodeURIComponent(id)}`, { key: params.get("key") });
  const reading = new AbortController();
  const rows = one.turns.filter((row) => !row.auxiliary && !row.shadow_of);
  fill(
    root,
    h("p", {}, h("a", { href: "#/conversations" }, "← Conversations")),
    h("h1", { class: "id" }, one.id),
    h("p", { class: "lead" }, head(one, rows)),
    tiles(one, rows),
    windows(rows),
    counterfactual(one),
    turns(rows),
    sent(one, reading.signal),
  );
  return () => reading.abort();
}

function head(one, rows) {
  const last = rows.at(-1) ?? one.turns.at(-1);
  const way = one.experiment ? `${one.experiment}, arm ${one.arm} (${last.strategy} on ${one.model})` : `${one.model}, named directly`;
  return `${way}; ${when(one.started_at)} to ${when(one.last_at)}; known by ${one.identity_source}.`;
}

function tiles(one, rows) {
  const cached = known(one.cached_tokens) && one.prompt_tokens ? one.cached_tokens / one.prompt_tokens : null;
  const last = rows.filter((row) => known(row.context_used)).at(-1);
  return h(
    "dl",
    { class: "tiles" },
    tile("Turns", count(one.turn_count), one.requests > one.turn_count ? plural(one.requests, "request") : ""),
    tile("Prompt tokens", count(one.prompt_tokens), known(cached) ? `${percent(cached)} cached` : ""),
    tile("Repetition", count(one.repeated_instruction_tokens), one.prompt_tokens ? `${percent((one.repeated_instruction_tokens ?? 0) / one.prompt_tokens)} of the prompt tokens` : ""),
    tile("Answered", count(one.completion_tokens), "tokens"),
    tile("Cost", usd(one.cost_usd), ""),
    tile("Window", last?.context_window ? percent(last.context_used / last.context_window) : "–", known(last?.context_headroom_turns) ? `${plural(last.context_headroom_turns, "turn")} left` : ""),
  );
}

export function tile(name, value, detail = "") {
  return h("div", { class: "tile card" }, h("dt", {}, name), h("dd", {}, h("strong", {}, value), detail && h("span", { class: "muted" }, detail)));
}

/** A bar for every turn: what the model read and wrote. */
function windows(rows) {
  const answered = rows.filter((row) => known(row.context_used) && known(row.context_window));
  if (!answered.length) return null;
  return h(
    "section",
    { class: "card", "aria-labelledby": "windows" },
    h("h2", { id: "windows" }, "The window, turn by turn"),
    legend(),
    h(
      "ol",
      { class: "windows" },
      ...answered.map((row) => {
        const bar = windowBar();
        bar.update([row]);
        return h("li", {}, h("span", { class: "number muted" }, row.turn), bar);
      }),
    ),
  );
}

/** What the same messages would have taken with the instruction placed otherwise. */
function counterfactual({ comparison }) {
  if (!comparison) return null;
  const { used, strategies, sentence, requests } = comparison;
  const own = strategies[used];
  const ways = Object.entries(strategies).sort(([, one], [, other]) => (one.cost_usd ?? one.prompt_tokens) - (other.cost_usd ?? other.prompt_tokens));
  return h(
    "section",
    { class: "card", "aria-labelledby": "otherwise" },
    h("h2", { id: "otherwise" }, "What another way would have taken"),
    sentence && h("p", { class: "verdict-text" }, sentence),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "The same messages under each strategy" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...["Strategy", "Prompt tokens", "Cached", "Cost", "Against this", "Window full at turn"].map((title, index) => h("th", { scope: "col", class: index ? "number" : null }, title)))),
        h(
          "tbody",
          {},
          ...ways.map(([name, way]) =>
            h(
              "tr",
              { class: name === used ? "own" : null },
              h("th", { scope: "row" }, name, name === used && h("span", { class: "chip" }, "this one")),
              h("td", { class: "number" }, count(way.prompt_tokens)),
              h("td", { class: "number" }, percent(way.cached_share)),
              h("td", { class: "number" }, usd(way.cost_usd)),
              h("td", { class: "number" }, name === used ? "" : difference(way, own)),
              h("td", { class: "number" }, count(way.window_full_at_turn)),
            ),
          ),
        ),
      ),
    ),
    h("p", { class: "muted" }, `Over ${plural(requests, "request")}. The prefix cache's share of the others follows a rule for the provider; the answers are taken to be the same.`),
  );
}

function difference(way, own) {
  if (known(way.cost_usd) && known(own.cost_usd)) {
    const more = way.cost_usd - own.cost_usd;
    return `${more >= 0 ? "+" : ""}${usd(more)}`;
  }
  return `${way.prompt_tokens >= own.prompt_tokens ? "+" : "−"}${count(Math.abs(way.prompt_tokens - own.prompt_tokens))} tokens`;
}

const COLUMNS = [
  ["Turn", "number", (row) => count(row.turn)],
  ["Prompt", "number", (row) => count(row.prompt_tokens)],
  ["Cached", "number", (row) => count(row.cached_tokens)],
  ["Repetition", "number", (row) => count(row.repeated_instruction_tokens)],
  ["Answer", "number", (row) => count(row.completion_tokens)],
  ["Cost", "number", (row) => usd(row.cost_usd)],
  ["First token", "number", (row) => milliseconds(row.ttft_ms)],
  ["Took", "number", (row) => milliseconds(row.duration_ms)],
  ["Figures", "", (row) => row.usage_source ?? "–"],
  ["Instruction", "", (row) => verdict(row)],
  ["Ended", "", (row) => (row.error_code ? h("span", { class: "error" }, row.error_code) : (row.finish_reason ?? row.status))],
];

function verdict(row) {
  if (row.adherent === null) return h("span", { class: "muted" }, "not judged");
  return h("span", { class: `verdict ${row.adherent ? "kept" : "lost"}` }, row.adherent ? "✓ kept" : "✗ left");
}

function turns(rows) {
  return h(
    "section",
    { class: "card", "aria-labelledby": "turns" },
    h("h2", { id: "turns" }, "Every turn"),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of turns" },
      h("table", {}, h("thead", {}, h("tr", {}, ...COLUMNS.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)))), h("tbody", {}, ...rows.map((row) => h("tr", {}, ...COLUMNS.map(([, kind, cell]) => h("td", { class: kind }, cell(row))))))),
    ),
  );
}
