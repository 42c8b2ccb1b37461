// Side by side: one message to two arms, their answers beside each other, and what each of them took.

import * as api from "../api.js";
import { field, fill, h, select } from "../dom.js";
import { count, known, milliseconds, plural, usd } from "../format.js";
import { legend, windowBar } from "../window-bar.js";

/** How long a verdict of the gateway's own may take after the answer before the page stops asking for it. */
const VERDICT_WAITS_MS = [600, 2000];

const SIDES = ["left", "right"];

export async function view(root, params) {
  const [models, scripts] = await Promise.all([api.get("/v1/models"), api.page("scripts")]);
  const table = new Arena(models.data, scripts.data, params);
  fill(root, table.element);
  return () => table.stop();
}

class Arena {
  constructor(models, scripts, params) {
    this.scripts = scripts;
    const [left, right] = defaults(models);
    this.columns = [
      new Column("left", choices(models, params.get("left") ?? left, "Left: model or arm"), models),
      new Column("right", choices(models, params.get("right") ?? right, "Right: model or arm"), models),
    ];
    this.turn = 0;
    this.script = null;
    this.playing = false;
    this.#build();
    for (const column of this.columns) column.choice.addEventListener("change", () => this.restart());
    if (scripts.length) this.picker.value = scripts[0].id;
    this.#choose();
  }

  #build() {
    this.instruction = h("textarea", { rows: 2, placeholder: "What every answer should keep to, for example: Act as Oscar Wilde.", oninput: () => this.#leaveScript() });
    this.picker = select([["", "none: I type myself"], ...this.scripts.map((one) => [one.id, one.title])], "", { onchange: () => this.#choose() });
    this.playButton = h("button", { type: "button", onclick: () => (this.playing ? this.pause() : this.play()) }, "Play");
    this.message = h("textarea", { id: "message", rows: 1, placeholder: "Ask both …", onkeydown: (event) => this.#onKey(event) });
    this.sendButton = h("button", { type: "submit", class: "primary" }, "Send");
    this.turns = h("ol", { class: "turns" });
    this.status = h("p", { class: "compared", role: "status" });
    this.heads = h("div", { class: "heads" }, ...this.columns.map((column) => column.head));
    this.element = h(
      "div",
      { class: "arena" },
      h("h1", {}, "Side by side"),
      h("p", { class: "lead" }, "The same messages go to both. Watch which one keeps the instruction, and what it takes from the window."),
      h(
        "div",
        { class: "setup card" },
        field("Instruction", this.instruction),
        h("div", { class: "row" }, field("Ready-made conversation", this.picker), this.playButton, h("button", { type: "button", class: "quiet", onclick: () => this.restart() }, "Start over")),
      ),
      h("div", { class: "sticky" }, this.heads, h("div", { class: "under" }, legend(), this.status)),
      this.turns,
      h(
        "form",
        {
          class: "composer",
          onsubmit: (event) => {
            event.preventDefault();
            this.#say();
          },
        },
        h("label", { class: "hidden", for: "message" }, "Message to both"),
        this.message,
        this.sendButton,
      ),
    );
  }

  /** A new conversation with each side. */
  restart() {
    this.stop();
    this.turn = 0;
    for (const column of this.columns) column.restart();
    fill(this.turns);
    this.status.textContent = "";
    this.#buttons();
  }

  /** Leaves running answers alone no longer. */
  stop() {
    this.pause();
    for (const column of this.columns) column.stop();
  }

  #choose() {
    const script = this.scripts.find((one) => one.id === this.picker.value) ?? null;
    this.restart();
    this.script = script;
    if (script) this.instruction.value = script.instruction ?? "";
    this.#buttons();
  }

  // Another instruction is no longer the one that the script's checks are for.
  #leaveScript() {
    if (!this.script) return;
    this.script = null;
    this.picker.value = "";
    this.pause();
  }

  async play() {
    if (!this.script || this.#ended()) return;
    this.playing = true;
    this.#buttons();
    while (this.playing && !this.#ended()) await this.ask(this.script.turns[this.turn]);
    this.playing = false;
    this.#buttons();
  }

  pause() {
    this.playing = false;
    this.#buttons();
  }

  #ended() {
    return this.turn >= this.script.turns.length || this.columns.every((column) => column.failed);
  }

  #buttons() {
    const busy = this.columns.some((column) => column.busy);
    this.playButton.classList.toggle("primary", !this.turn && Boolean(this.script));
    this.playButton.textContent = this.playing ? "Pause" : this.turn && this.script ? "Play on" : "Play";
    this.playButton.disabled = !this.script || (!this.playing && (busy || this.#ended()));
    this.sendButton.disabled = busy || this.playing;
  }

  #onKey(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#say();
    }
  }

  async #say() {
    const text = this.message.value.trim();
    if (!text || this.sendButton.disabled) return;
    this.message.value = "";
    await this.ask(text);
    this.message.focus();
  }

  /** One turn with both; resolves when both have ended and are in the books. */
  async ask(text) {
    this.turn += 1;
    const columns = this.columns;
    const answers = columns.map((column) => column.answer(this.turn));
    const vote = h("div", { class: "vote", role: "group", "aria-label": `Vote for turn ${this.turn}` });
    const item = h("li", { class: "turn" }, h("p", { class: "user" }, h("span", { class: "number" }, `${this.turn}`), text), h("div", { class: "answers" }, ...answers.map((answer) => answer.element)), vote);
    this.turns.append(item);
    item.scrollIntoView({ block: "end", behavior: "instant" });
    const asked = columns.map((column, index) => column.ask(text, this.instruction.value.trim(), answers[index], this.script));
    this.#buttons();
    await Promise.all(asked);
    if (!item.isConnected) return;
    fill(vote, ...this.#votes(answers, vote));
    this.status.textContent = compared(columns);
    item.scrollIntoView({ block: "end", behavior: "instant" });
    this.#buttons();
  }

  #votes(answers, group) {
    if (answers.some((answer) => !answer.completionId)) return [];
    const choices = [["Left is better", [1, 0]], ["Both alike", [0.5, 0.5]], ["Right is better", [0, 1]]];
    const said = h("span", { class: "muted", role: "status" });
    const buttons = choices.map(([text, scores]) =>
      h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: (event) => cast(event.target, scores) }, text),
    );
    const cast = async (pressed, scores) => {
      try {
        await Promise.all(answers.map((answer, index) => api.post("/api/feedback", { completion_id: answer.completionId, score: scores[index], comment: "side by side" })));
      } catch (error) {
        said.textContent = error.status === 404 ? "This gateway takes no feedback." : error.message;
        return;
      }
      for (const button of group.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button === pressed));
      said.textContent = "Noted.";
    };
    return [...buttons, said];
  }
}

/** One side: its model, its conversation so far, its window. */
class Column {
  constructor(side, choice, models) {
    this.side = side;
    this.models = models;
    this.choice = choice;
    this.bar = windowBar();
    this.marks = h("ol", { class: "marks", "aria-label": `Turns that kept the instruction, ${side}` });
    this.about = h("p", { class: "about muted" });
    this.head = h("section", { class: `head ${side}`, "aria-label": `${side} side` }, choice, this.about, this.bar, this.marks);
  }

  get name() {
    return short(this.choice.value);
  }

  restart() {
    this.id = `page-${[...crypto.getRandomValues(new Uint8Array(9))].map((byte) => byte.toString(36).padStart(2, "0")).join("")}`;
    this.history = [];
    this.rows = [];
    this.failed = false;
    this.busy = false;
    this.controller = new AbortController();
    const bar = windowBar();
    this.bar.replaceWith(bar);
    this.bar = bar;
    fill(this.marks);
    fill(this.about, foretold(this.models.find((model) => model.id === this.choice.value)));
  }

  stop() {
    this.controller?.abort();
  }

  answer(turn) {
    return new Answer(this.side, this.choice.value, turn);
  }

  async ask(text, instruction, answer, script) {
    if (this.failed) return answer.skip();
    const { signal } = this.controller;
    const id = this.id;
    this.history.push({ role: "user", content: text });
    const messages = instruction ? [{ role: "system", content: instruction }, ...this.history] : this.history;
    this.busy = true;
    try {
      const body = { model: this.choice.value, messages, temperature: 0 };
      const result = await api.chat(body, { "x-gattway-conversation-id": id }, (piece) => answer.write(piece), signal);
      this.history.push({ role: "assistant", content: result.text });
      answer.completionId = result.completionId;
      await this.#account(result, answer, script, signal);
    } catch (error) {
      if (error.name === "AbortError" || id !== this.id) return;
      this.failed = true;
      answer.fail(error);
    } finally {
      if (id === this.id) this.busy = false;
      answer.end();
    }
  }

  async #account(result, answer, script, signal) {
    const verdict = script ? api.page("verdict", "POST", { script: script.id, reply: result.text }).then((one) => one.adherent) : null;
    const row = await this.#row(result.requestId, signal);
    answer.figures(row, result.usage);
    if (row) {
      this.bar.update(this.rows);
      fill(this.about, described(row));
    }
    this.#judged(answer, (await verdict) ?? row?.adherent ?? null);
    if (!script && row && row.adherent === null) this.#waitForVerdict(result.requestId, answer, signal);
  }

  /** The turn's row, and all rows of the conversation in `this.rows`; null where the key does not open the books. */
  async #row(requestId, signal) {
    const conversation = await api.get(`/api/conversations/${encodeURIComponent(this.id)}`, {}, signal).catch((error) => {
      if (error.name === "AbortError") throw error;
      return null;
    });
    if (!conversation) return null;
    this.rows = conversation.turns.filter((row) => row.http_status === 200 && !row.auxiliary && !row.shadow_of);
    return this.rows.find((row) => row.request_id === requestId) ?? null;
  }

  /** The gateway judges a sample of the answers, after they were sent. */
  async #waitForVerdict(requestId, answer, signal) {
    for (const wait of VERDICT_WAITS_MS) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (signal.aborted) return;
      const row = await this.#row(requestId, signal).catch(() => null);
      if (row && row.adherent !== null) {
        this.#judged(answer, row.adherent);
        return;
      }
    }
  }

  #judged(answer, adherent) {
    answer.judge(adherent);
    while (this.marks.children.length < answer.turn) this.marks.append(mark(this.marks.children.length + 1, null));
    this.marks.children[answer.turn - 1].replaceWith(mark(answer.turn, adherent));
  }
}

/** One answer while it comes, and what it took. */
class Answer {
  constructor(side, name, turn) {
    this.turn = turn;
    this.completionId = null;
    this.text = h("p", { class: "text" });
    this.facts = h("p", { class: "facts muted" }, "…");
    this.element = h("article", { class: `answer ${side}`, "aria-busy": "true", "aria-label": `${name}, turn ${turn}` }, h("p", { class: "whose" }, short(name)), this.text, this.facts);
  }

  write(piece) {
    this.text.append(piece);
  }

  figures(row, usage) {
    const prompt = row?.prompt_tokens ?? usage?.prompt_tokens;
    const cached = row?.cached_tokens ?? usage?.prompt_tokens_details?.cached_tokens;
    const parts = [
      `${count(prompt)} tokens in${known(cached) ? ` (${count(cached)} cached)` : ""}`,
      `${count(row?.completion_tokens ?? usage?.completion_tokens)} out`,
      row && usd(row.cost_usd),
      row && `first token ${milliseconds(row.ttft_ms)}`,
    ];
    fill(this.facts, parts.filter(Boolean).join(" · "));
  }

  judge(adherent) {
    if (!known(adherent)) return;
    this.element.classList.toggle("left-it", !adherent);
    this.element.querySelector(".verdict")?.remove();
    this.element.append(h("p", { class: `verdict ${adherent ? "kept" : "lost"}` }, adherent ? "✓ keeps the instruction" : "✗ left the instruction"));
  }

  fail(error) {
    const full = error.code === "context_length_exceeded";
    this.element.classList.add("failed");
    fill(this.facts, h("span", { class: "error" }, full ? `The window is full. ${error.message}` : error.message));
  }

  skip() {
    fill(this.facts, "not asked any more");
    this.end();
  }

  end() {
    this.element.removeAttribute("aria-busy");
  }
}

function mark(turn, adherent) {
  const [kind, text] = adherent === null ? ["unknown", "not judged"] : adherent ? ["kept", "kept"] : ["lost", "left"];
  return h("li", { class: kind }, h("span", { class: "hidden" }, `Turn ${turn}: ${text}`));
}

function described(row) {
  return row.experiment ? `${row.arm}: ${row.strategy} on ${row.model}` : `${row.model}, nothing added`;
}

function foretold(model) {
  const dealt = model?.kind === "experiment" ? "the gateway deals the arm; " : "";
  return model?.context_window ? `${dealt}window of ${count(model.context_window)} tokens` : `${dealt}window unknown`;
}

/** In words: what the side that read more took against the other. */
function compared(columns) {
  const turns = columns[0].rows.length;
  if (!turns || columns[1].rows.length !== turns) return "";
  const total = (column, name) => column.rows.reduce((sum, row) => sum + (row[name] ?? 0), 0);
  const [more, less] = [...columns].sort((one, other) => total(other, "prompt_tokens") - total(one, "prompt_tokens"));
  const tokens = [more, less].map((column) => total(column, "prompt_tokens"));
  const cost = [more, less].map((column) => total(column, "cost_usd"));
  if (!tokens[1] || tokens[0] === tokens[1]) return "";
  const share = (pair) => `${Math.abs((pair[0] / pair[1] - 1) * 100).toFixed(0)} %`;
  const read = `After ${plural(turns, "turn")}, ${more.name} has read ${share(tokens)} more prompt tokens than ${less.name} (${count(tokens[0])} against ${count(tokens[1])})`;
  if (!cost[0] || !cost[1]) return `${read}.`;
  return `${read} and cost ${share(cost)} ${cost[0] >= cost[1] ? "more" : "less"} (${usd(cost[0])} against ${usd(cost[1])}).`;
}

const short = (name) => name.split(":").at(-1);

/** A drop-down of what can be asked: the arms of each experiment, and the models themselves. */
function choices(models, chosen, name) {
  const groups = new Map();
  for (const { id, kind } of models) {
    const [group, text] = kind === "arm" ? [id.slice(0, id.lastIndexOf(":")), short(id)] : kind === "experiment" ? [id, "whichever arm is dealt"] : ["Models as they are", id];
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(h("option", { value: id }, text));
  }
  const element = h("select", { "aria-label": name }, ...[...groups].map(([label, options]) => h("optgroup", { label }, ...options)));
  if (models.some((model) => model.id === chosen)) element.value = chosen;
  return element;
}

/** The first experiment's first two arms, else the first two of what there is. */
function defaults(models) {
  const arms = models.filter((model) => model.kind === "arm");
  const chosen = arms.length > 1 ? arms : models;
  return SIDES.map((_, index) => (chosen[index] ?? chosen[0])?.id);
}
