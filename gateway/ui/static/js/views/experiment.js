// What an experiment has shown so far: the verdict in words, the curves, the differences with their intervals, the checks.

import * as api from "../api.js";
import { lineChart } from "../charts.js";
import { field, fill, h, note, select } from "../dom.js";
import { count, known, milliseconds, percent, usd, when } from "../format.js";

/** How often an open report is made anew. */
const EVERY_MS = 15_000;

export async function view(root, params) {
  const models = await api.get("/v1/models");
  const names = models.data.filter((model) => model.kind === "experiment").map((model) => model.id);
  if (!names.length) {
    fill(root, h("h1", {}, "Experiment"), note("This gateway runs no experiment. docs/reference.md says how to set one up: experiments.NAME.arms."));
    return undefined;
  }
  const report = new Report(select(names.map((name) => [name, name]), params.get("experiment") ?? names[0]));
  fill(root, report.element);
  await report.make();
  const timer = setInterval(() => document.hidden || report.make(), EVERY_MS);
  return () => {
    clearInterval(timer);
    report.stop();
  };
}

class Report {
  constructor(choice) {
    this.choice = choice;
    this.body = h("div", { class: "stack" }, note("One moment …"));
    this.status = h("p", { class: "muted", role: "status" });
    choice.addEventListener("change", () => this.make());
    this.element = h(
      "div",
      { class: "stack" },
      h("h1", {}, "Experiment"),
      choice.options.length > 1 ? h("div", { class: "card" }, field("Experiment", choice)) : h("p", { class: "lead" }, choice.value),
      this.body,
      this.status,
    );
  }

  stop() {
    this.controller?.abort();
  }

  async make() {
    this.stop();
    this.controller = new AbortController();
    try {
      const report = await api.get("/api/report", { experiment: this.choice.value }, this.controller.signal);
      // What somebody has unfolded or is reading stays as it is until there is something new to say.
      const said = JSON.stringify({ ...report, created_at: null });
      if (said !== this.said) fill(this.body, ...drawn(report));
      this.said = said;
      this.status.textContent = `Made ${when(report.created_at)}; made anew every ${EVERY_MS / 1000} seconds.`;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.said = null;
      fill(this.body, note(missing(error)));
      this.status.textContent = "";
    }
  }
}

function missing(error) {
  if (error.code === "unknown_url") return "This gateway makes no reports yet.";
  return error.message;
}

function drawn(report) {
  const arms = Object.entries(report.arms);
  const colours = new Map(arms.map(([name], index) => [name, index]));
  return [
    h("section", { class: "card", "aria-labelledby": "verdict" }, h("h2", { id: "verdict" }, "Verdict"), ...report.verdict.map((sentence, index) => h("p", { class: index ? null : "verdict-text" }, sentence))),
    arms.length ? curves(arms, colours) : null,
    ...report.comparisons.map(differences),
    arms.length ? table(arms, report) : null,
    checks(report),
  ];
}

function curves(arms, colours) {
  const drawn = arms
    .filter(([, arm]) => arm.adherence_by_turn.length)
    .map(([name, arm]) => ({
      name,
      colour: colours.get(name),
      points: arm.adherence_by_turn.map(({ turn, share, interval: [low, high] }) => ({ x: turn, y: share, low, high })),
    }));
  const chart = lineChart(drawn, { title: "Answers that keep the instruction, by turn", format: (value) => percent(value), top: 1, height: 280 });
  if (!chart) return h("section", { class: "card" }, note("No answer was judged yet: the curves begin with the first verdict."));
  return h("section", { class: "card" }, chart, h("p", { class: "muted" }, "Shaded: 95 % intervals (Wilson). Late turns are those of the conversations that got so far."));
}

const METRICS = [
  ["adherence", "Adherence", (value) => percent(value, 1)],
  ["cost_per_conversation", "Cost per conversation", usd],
  ["cost_per_adherent_turn", "Cost per adherent turn", usd],
  ["prompt_tokens_per_conversation", "Prompt tokens per conversation", count],
  ["completion_tokens_per_conversation", "Answer tokens per conversation", count],
  ["repeated_instruction_tokens_per_conversation", "Repeated tokens per conversation", count],
  ["prompt_tokens_per_adherent_turn", "Prompt tokens per adherent turn", count],
  ["window_used", "Window used at most", (value) => percent(value)],
  ["ttft_ms", "Time to first token", milliseconds],
  ["duration_ms", "Duration of a turn", milliseconds],
];

const SHARES = new Set(["adherence"]);

/** The differences of one arm to the baseline: a dot, its interval that holds for any number of looks, and the words. */
function differences(comparison) {
  const there = METRICS.filter(([name]) => comparison.differences[name]);
  if (!there.length) return null;
  const widest = Math.max(0.05, ...there.flatMap(([name]) => comparison.differences[name].always_valid.map(Math.abs)));
  const span = Math.min(1.5, widest * 1.1);
  return h(
    "section",
    { class: "card", "aria-label": `${comparison.arm} against ${comparison.baseline}` },
    h("h2", {}, `${comparison.arm} against ${comparison.baseline}`),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `Differences of ${comparison.arm} to ${comparison.baseline}` },
      h(
        "table",
        { class: "forest" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), h("th", { scope: "col", class: "number" }, comparison.baseline), h("th", { scope: "col", class: "number" }, comparison.arm), h("th", { scope: "col", class: "number" }, "Difference"), h("th", { scope: "col", class: "wide" }, "95 %, however often you look"))),
        h("tbody", {}, ...there.map(([name, title, format]) => difference(name, title, format, comparison.differences[name], span))),
      ),
    ),
    h("p", { class: "muted" }, `${count(comparison.conversations)} conversations. Adherence differs in points, all else in per cent of ${comparison.baseline}.`),
  );
}

function difference(name, title, format, found, span) {
  const share = SHARES.has(name);
  const [low, high] = found.always_valid;
  const written = (value) => signed(value, share);
  const place = (value) => `${50 + (50 * Math.max(-span, Math.min(span, value))) / span}%`;
  const sure = low > 0 || high < 0;
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, title),
    h("td", { class: "number" }, format(found.baseline)),
    h("td", { class: "number" }, format(found.treatment)),
    h("td", { class: "number" }, h("strong", {}, written(found.difference)), ` [${written(low)}, ${written(high)}]`),
    h(
      "td",
      { class: "wide" },
      h(
        "span",
        { class: sure ? "interval sure" : "interval", "aria-hidden": "true" },
        h("span", { class: "zero" }),
        h("span", { class: "whisker", style: { left: place(low), right: `calc(100% - ${place(high)})` } }),
        h("span", { class: "point", style: { left: place(found.difference) } }),
      ),
    ),
  );
}

function signed(value, share) {
  const size = Math.abs(100 * value).toFixed(share ? 1 : 0);
  return `${value < 0 ? "−" : "+"}${size}${share ? "" : " %"}`;
}

function table(arms, report) {
  return h(
    "section",
    { class: "card", "aria-labelledby": "arms" },
    h("h2", { id: "arms" }, "The arms"),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures of the arms" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), ...arms.map(([name]) => h("th", { scope: "col", class: "number" }, name)))),
        h(
          "tbody",
          {},
          line("Conversations", arms, (arm) => count(arm.conversations)),
          line("Turns answered", arms, (arm) => count(arm.turns)),
          line("Turns judged", arms, (arm) => count(arm.judged_turns)),
          line("Last turn, on average", arms, (arm) => arm.mean_last_turn.toFixed(1)),
          ...METRICS.map(([name, title, format]) => line(title, arms, (arm) => format(arm.metrics[name]))),
          ...bands(arms).map((band) => line(`Adherence at turns ${band}`, arms, (arm) => percent(arm.adherence_by_band[band]?.share))),
        ),
      ),
    ),
    h("p", { class: "muted" }, `Compared over the first ${report.horizon_turns} turns: ${report.horizon_reason}.`),
  );
}

/** The bands of turns in which some answer was judged. */
function bands(arms) {
  return Object.keys(arms[0][1].adherence_by_band).filter((band) => arms.some(([, arm]) => arm.adherence_by_band[band]?.judged));
}

function line(title, arms, cell) {
  return h("tr", {}, h("th", { scope: "row" }, title), ...arms.map(([, arm]) => h("td", { class: "number" }, cell(arm))));
}

function checks(report) {
  const { sample_ratio: ratio, crossover, outside } = report.checks;
  const dealt = Object.entries(ratio.observed).map(([arm, number]) => `${arm} ${count(number)} (meant: ${count(ratio.expected[arm])})`);
  const out = report.left_out.map((one) => `${one.reason} ${count(one.turns)}`);
  const beyond = Object.entries(outside).map(([reason, number]) => `${reason} ${count(number)}`);
  return h(
    "section",
    { class: "card", "aria-labelledby": "checks" },
    h("h2", { id: "checks" }, "Checks"),
    h(
      "ul",
      { class: "checks" },
      check(ratio.ok, `Conversations were dealt as meant: ${dealt.join(", ") || "none dealt yet"}${known(ratio.p) ? `; p = ${ratio.p.toPrecision(2)}` : ""}.`),
      check(crossover.ok, `${count(crossover.conversations)} conversations were answered by more than one arm.`),
      ...report.comparisons.map((one) => check(!one.survival_differs, one.survival_differs ? `Conversations with ${one.arm} and ${one.baseline} do not get equally long.` : `Conversations with ${one.arm} and ${one.baseline} get equally long.`)),
    ),
    h("p", { class: "muted" }, out.length ? `Turns left out of the statistics: ${out.join(", ")}.` : "No turn is left out of the statistics."),
    beyond.length > 0 && h("p", { class: "muted" }, `Conversations outside the experiment: ${beyond.join(", ")}.`),
  );
}

function check(ok, text) {
  return h("li", {}, h("span", { class: ok ? "kept" : "lost" }, ok ? "✓" : "✗", h("span", { class: "hidden" }, ok ? " holds: " : " fails: ")), h("span", {}, text));
}
