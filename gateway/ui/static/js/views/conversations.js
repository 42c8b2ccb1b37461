// All conversations, newest first, a page at a time, narrowed down by what the gateway's API can narrow by.

import * as api from "../api.js";
import { field, fill, h, note, select } from "../dom.js";
import { count, usd, when } from "../format.js";

const PATH = "/api/conversations";
const PAGE = 50;
const TYPING_MS = 250;

/** Controls by the API's parameter; one that this gateway's API does not have is left out. */
const FILTERS = [
  ["prefix", "Id begins with", (value) => h("input", { type: "search", value, autocomplete: "off", spellcheck: "false" })],
  ["arm", "Arm", (value, arms) => select([["", "any"], ...arms.map((arm) => [arm, arm])], value)],
  ["model", "Model", (value, _, models) => select([["", "any"], ...models.map((model) => [model, model])], value)],
  ["min_turns", "Turns, at least", (value) => h("input", { type: "number", min: 1, value, inputmode: "numeric" })],
  ["min_cost_usd", "Cost in $, at least", (value) => h("input", { type: "number", min: 0, step: "any", value, inputmode: "decimal" })],
  ["drifted", "Instruction", (value) => select([["", "kept or not"], ["true", "left at some turn"], ["false", "kept throughout"]], value)],
];

export async function view(root, params) {
  const [known, models] = await Promise.all([api.parametersOf(PATH), api.get("/v1/models")]);
  const arms = [...new Set(models.data.filter((model) => model.kind === "arm").map((model) => model.id.split(":").at(-1)))];
  const names = models.data.filter((model) => model.kind === "model").map((model) => model.id);
  const filters = FILTERS.filter(([name]) => known.has(name)).map(([name, label, make]) => [name, label, make(params.get(name) ?? "", arms, names)]);
  const list = new List(() => Object.fromEntries(filters.map(([name, , control]) => [name, control.value.trim()])));
  const form = h("form", { class: "filters card", role: "search", "aria-label": "Narrow the conversations down", onsubmit: (event) => event.preventDefault() }, ...filters.map(([, label, control]) => field(label, control)));
  let waiting;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => list.start(), TYPING_MS);
  });
  fill(
    root,
    h("h1", {}, "Conversations"),
    filters.length ? form : note("This gateway lists conversations only; it cannot narrow them down yet."),
    list.element,
  );
  await list.start();
  return () => {
    clearTimeout(waiting);
    list.stop();
  };
}

class List {
  constructor(filter) {
    this.filter = filter;
    this.rows = h("tbody", {});
    this.more = h("button", { type: "button", hidden: true, onclick: () => this.#load() }, "Show more");
    this.status = h("p", { class: "muted", role: "status" });
    this.element = h(
      "section",
      { "aria-label": "Conversations found" },
      h(
        "div",
        { class: "scroll card", tabindex: "0", role: "region", "aria-label": "Table of conversations" },
        h(
          "table",
          { class: "conversations" },
          h("thead", {}, h("tr", {}, ...COLUMNS.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)))),
          this.rows,
        ),
      ),
      this.status,
      this.more,
    );
  }

  async start() {
    this.stop();
    this.controller = new AbortController();
    this.after = null;
    this.asked = this.filter();
    await this.#load();
    history.replaceState(null, "", `#/conversations${query(this.asked)}`);
  }

  stop() {
    this.controller?.abort();
  }

  async #load() {
    const { signal } = this.controller;
    try {
      const page = await api.get(PATH, { ...this.asked, limit: PAGE, ...this.after }, signal);
      const rows = page.data.map(row);
      if (this.after) this.rows.append(...rows);
      else fill(this.rows, ...rows);
      this.after = { after: page.last_id, after_key: page.data.at(-1)?.key_name };
      this.more.hidden = !page.has_more;
      const shown = this.rows.children.length;
      this.status.textContent = shown ? `${count(shown)} shown${page.has_more ? ", there are more" : ""}.` : "No conversation is like that.";
    } catch (error) {
      if (error.name === "AbortError") return;
      this.status.textContent = error.message;
    }
  }
}

const COLUMNS = [
  ["Conversation", ""],
  ["Arm", ""],
  ["Turns", "number"],
  ["Prompt tokens", "number wide"],
  ["Repetition", "number wide"],
  ["Cost", "number"],
  ["Instruction", ""],
  ["Last turn", "wide"],
];

function row(one) {
  const place = `#/conversation${query({ id: one.id, key: one.key_name })}`;
  return h(
    "tr",
    {},
    h("td", { class: "id" }, h("a", { href: place }, one.id)),
    h("td", {}, one.arm ? h("span", { class: "chip" }, one.arm) : h("span", { class: "muted" }, one.model)),
    h("td", { class: "number" }, count(one.turn_count)),
    h("td", { class: "number wide" }, count(one.prompt_tokens)),
    h("td", { class: "number wide" }, count(one.repeated_instruction_tokens)),
    h("td", { class: "number" }, usd(one.cost_usd)),
    h("td", {}, kept(one)),
    h("td", { class: "wide" }, when(one.last_at)),
  );
}

function kept(one) {
  if (!one.judged) return h("span", { class: "muted" }, "not judged");
  if (one.drifted_at) return h("span", { class: "verdict lost" }, `✗ left at turn ${one.drifted_at}`);
  return h("span", { class: "verdict kept" }, "✓ kept");
}

function query(values) {
  const given = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  return given.size ? `?${given}` : "";
}
