// How full a context window is, and with what: the instruction, its repetitions, and the conversation.

import { h, fill } from "./dom.js";
import { count, known, percent, plural } from "./format.js";

/** Beyond so many turns single ones can no longer be told apart. */
const MOST_TURNS = 60;

export const LEGEND = [
  ["instruction", "instruction"],
  ["repeated", "its repetitions"],
  ["said", "conversation"],
];

/** What the colours mean. */
export function legend() {
  return h("p", { class: "legend" }, "Context window: ", ...LEGEND.map(([kind, text]) => h("span", { class: `key ${kind}` }, text)));
}

/** A bar that `update(rows)` fills, from the ledger's rows of one conversation, oldest first. */
export function windowBar() {
  const track = h("div", { class: "track", role: "img", "aria-label": "Context window: empty" });
  const text = h("p", { class: "figures" }, "empty");
  const element = h("div", { class: "window-bar" }, track, text);
  element.update = (rows) => {
    const last = rows.at(-1);
    if (!last || !known(last.context_used)) return;
    if (!known(last.context_window)) {
      fill(text, `${count(last.context_used)} tokens; the window is unknown`);
      return;
    }
    fill(track, ...segments(rows).map(([kind, tokens]) => segment(kind, tokens / last.context_window)));
    const share = last.context_used / last.context_window;
    const repeated = last.repeated_instruction_tokens;
    const parts = [
      `${count(last.context_used)} of ${count(last.context_window)} tokens`,
      known(repeated) && repeated > 0 ? `${percent(repeated / last.context_used)} of them repetition` : null,
      known(last.context_headroom_turns) ? `${plural(last.context_headroom_turns, "turn")} left` : null,
    ];
    fill(text, h("strong", {}, percent(share)), ` · ${parts.filter(Boolean).join(" · ")}`);
    track.setAttribute("aria-label", `Context window: ${percent(share)}, ${parts.filter(Boolean).join(", ")}`);
  };
  return element;
}

/** `[kind, tokens]` from left to right, turn by turn. */
export function segments(rows) {
  const last = rows.at(-1);
  const instruction = last.instruction_tokens ?? 0;
  const parts = [["instruction", instruction]];
  let used = instruction;
  let repeated = 0;
  for (const row of rows.length <= MOST_TURNS ? rows : [last]) {
    const more = (row.repeated_instruction_tokens ?? 0) - repeated;
    const grown = row.context_used - used;
    if (more < 0 || grown < more) return whole(last, instruction);
    if (more) parts.push(["repeated", more]);
    parts.push(["said", grown - more]);
    repeated += more;
    used = row.context_used;
  }
  return parts;
}

// A conversation that was cut or condensed does not grow turn by turn.
function whole(last, instruction) {
  const repeated = last.repeated_instruction_tokens ?? 0;
  return [["instruction", instruction], ["repeated", repeated], ["said", last.context_used - instruction - repeated]];
}

function segment(kind, share) {
  return h("span", { class: `segment ${kind}`, style: { width: `${Math.max(0, share) * 100}%` } });
}
