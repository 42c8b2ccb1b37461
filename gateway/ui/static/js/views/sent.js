// What was said in a conversation and what the model got, where the gateway keeps it; the placed text is marked.

import * as api from "../api.js";
import { fill, h, note } from "../dom.js";
import { plural } from "../format.js";

const PAGE = 20;

/** The section of one conversation; it loads by itself. `signal` ends that. */
export function sent(one, signal) {
  const body = h("div", {});
  const section = h("section", { class: "card", "aria-labelledby": "sent" }, h("h2", { id: "sent" }, "What was sent to the model"), body);
  if (!one.content_turns) {
    const missing = "What was said is not stored. The gateway keeps it, encrypted, of requests made while ";
    fill(body, h("p", { class: "muted" }, missing, h("code", {}, "[ledger] store_content = true"), "."));
    return section;
  }
  const list = h("ol", { class: "sent" });
  const status = h("p", { class: "muted", role: "status" }, "Reading …");
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, "Show more turns");
  let after = null;
  async function load() {
    try {
      const page = await api.get(`/api/conversations/${encodeURIComponent(one.id)}/content`, { key: one.key_name, limit: PAGE, after }, signal);
      const shown = page.data.filter((turn) => !turn.auxiliary && !turn.shadow_of);
      list.append(...shown.map(turnContent));
      after = page.last_id;
      more.hidden = !page.has_more;
      status.textContent = "";
    } catch (error) {
      if (error.name !== "AbortError") fill(body, note(error.message, "error"));
    }
  }
  fill(body, h("p", { class: "muted" }, h("mark", {}, "marked so"), " is text that the gateway placed; the client did not send it there."), list, status, more);
  load();
  return section;
}

/** A turn, folded; its messages are drawn when somebody opens it, for each turn holds all that came before it. */
function turnContent(turn) {
  if (!turn.stored) return h("li", { class: "muted" }, `Turn ${turn.turn}: not stored`);
  const details = h("details", {}, h("summary", {}, `Turn ${turn.turn}: ${plural(turn.sent.length, "message")}, ${turn.placed.length ? `text placed in ${plural(turn.placed.length, "place")}` : "nothing placed"}`));
  details.addEventListener("toggle", () => details.append(...turn.sent.map((one, index) => message(one.role, one, placedIn(turn, index))), answer(turn)), { once: true });
  return h("li", {}, details);
}

function answer(turn) {
  return turn.answer ? message("assistant, the answer", turn.answer, []) : h("p", { class: "muted" }, "No answer came.");
}

const placedIn = (turn, index) => turn.placed.filter((one) => one.message === index);

function message(role, { content, tool_calls: calls }, placed) {
  return h("div", { class: "message" }, h("span", { class: "role" }, role), ...said(content, placed), calls && h("code", {}, JSON.stringify(calls)));
}

function said(content, placed) {
  if (content === null || content === undefined) return [];
  if (Array.isArray(content)) return content.flatMap((part, index) => [index ? "\n" : null, isIn(placed, index) ? marked(words(part)) : words(part)].flat());
  // The API counts characters; a JavaScript string counts an emoji as two.
  const characters = [...content];
  const pieces = [];
  let end = 0;
  for (const one of placed) {
    pieces.push(characters.slice(end, one.start).join(""), ...marked(characters.slice(one.start, one.end).join("")));
    end = one.end;
  }
  return [...pieces, characters.slice(end).join("")];
}

const isIn = (placed, index) => placed.some((one) => one.start <= index && index < one.end);
const words = (part) => (part.type === "text" ? part.text : JSON.stringify(part));

/** Set apart by colour, by line and brackets for the eye, and by words for a screen reader; blank lines stay outside. */
function marked(text) {
  const [, before, words, after] = text.match(/^(\s*)(.*?)(\s*)$/s);
  const hidden = (told) => h("span", { class: "hidden" }, told);
  return [before, words && h("mark", {}, hidden("placed by the gateway: "), words, hidden(" end of the placed text ")), after].filter(Boolean);
}
