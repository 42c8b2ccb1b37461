"""The arms of an experiment side by side."""

from __future__ import annotations

from panels import (
    ARM,
    BY_ARM,
    BY_MODEL,
    PROMPT,
    SPENT,
    STARTED,
    TURNS,
    Page,
    Show,
    adherence,
    mean,
    quantile,
    rate,
    ratio,
)

ARMS = Page(
    "gattway-arms",
    "Arms compared",
    "The arms of an experiment side by side. For intervals and a verdict: `gattway report`.",
    {
        "Adherence": [
            Show(
                "Adherence by turn",
                "Share of checked answers that follow their instruction, by arm and turn, over the time range.",
                "percentunit",
                [(adherence("experiment, arm, turn_bucket", "$__range"), f"{ARM} turn {{{{turn_bucket}}}}")],
                "bars",
                12,
                1,
            ),
            Show(
                "Adherence over time",
                "By arm, over the hour before each point.",
                "percentunit",
                [(f"gattway:adherence:ratio_rate1h{{{BY_ARM}}}", ARM)],
                columns=12,
                most=1,
            ),
            Show(
                "Verdicts",
                "Checked answers a second; `unknown` is a check that could not tell.",
                "short",
                [(rate("gattway_adherence_total", "experiment, arm, verdict", BY_ARM), f"{ARM} {{{{verdict}}}}")],
                columns=12,
            ),
            Show(
                "Turns",
                "Mean turn number of the requests: drift that ends conversations early shows here.",
                "short",
                [(mean("gattway_conversation_turn", "experiment, arm", BY_ARM), ARM)],
                columns=12,
                decimals=1,
            ),
        ],
        "Tokens and window": [
            Show(
                "Prompt tokens per request",
                "What an arm's requests take on average.",
                "short",
                [(ratio(rate("gattway_tokens_total", "experiment, arm", PROMPT), TURNS), ARM)],
            ),
            Show(
                "Repeated instruction per request",
                "Tokens of the copies beyond the first.",
                "short",
                [
                    (
                        ratio(
                            rate("gattway_tokens_total", "experiment, arm", f'{BY_MODEL}, kind="repeated_instruction"'),
                            TURNS,
                        ),
                        ARM,
                    )
                ],
            ),
            Show(
                "Cached share",
                "Prompt tokens that the provider's prefix cache served.",
                "percentunit",
                [
                    (
                        ratio(
                            rate("gattway_tokens_total", "experiment, arm", f'{BY_MODEL}, kind="cached"'),
                            rate("gattway_tokens_total", "experiment, arm", PROMPT),
                        ),
                        ARM,
                    )
                ],
                most=1,
            ),
            Show(
                "Window used, p95",
                "How full the context window is for the fullest 5 % of turns.",
                "percentunit",
                [(quantile(0.95, "gattway_context_used_ratio", "experiment, arm"), ARM)],
                columns=12,
                most=1,
            ),
            Show(
                "Turns with a nearly full window",
                "Share of turns above 90 % of the window.",
                "percentunit",
                [(f"gattway:context_nearly_full:ratio_rate15m{{{BY_MODEL}}}", f"{ARM} {{{{model}}}}")],
                columns=12,
                most=1,
            ),
        ],
        "Cost and latency": [
            Show(
                "Cost per conversation",
                "US dollars over conversations begun, in the time range.",
                "currencyUSD",
                [(ratio(SPENT, STARTED), ARM)],
                "bars",
                8,
                decimals=5,
            ),
            Show(
                "Cost per request",
                "US dollars on average.",
                "currencyUSD",
                [(ratio(rate("gattway_cost_usd_total", "experiment, arm"), TURNS), ARM)],
                decimals=5,
            ),
            Show(
                "First token, p95",
                "Of streamed answers.",
                "s",
                [(quantile(0.95, "gattway_time_to_first_token_seconds", "experiment, arm"), ARM)],
            ),
            Show(
                "Time per token, mean",
                "Between the tokens of streamed answers.",
                "s",
                [(mean("gattway_time_per_output_token_seconds", "experiment, arm"), ARM)],
                columns=12,
            ),
            Show(
                "Duration, p95",
                "Whole requests.",
                "s",
                [(quantile(0.95, "gattway_request_duration_seconds", "experiment, arm"), ARM)],
                columns=12,
            ),
        ],
        "Is the comparison sound?": [
            Show(
                "Conversations",
                "Dealt in the last six hours, and how many the shares would give.",
                "short",
                [
                    (f"gattway:conversations:increase6h{{{BY_ARM}}}", f"{ARM} dealt"),
                    (f"gattway:conversations_expected:increase6h{{{BY_ARM}}}", f"{ARM} expected"),
                ],
                "bars",
                8,
                decimals=0,
            ),
            Show(
                "Sample ratio",
                "Chi-squared of the conversations dealt, and the limit beyond which chance is no excuse (p < 0.001).",
                "short",
                [
                    ('gattway:sample_ratio:chi2_6h{experiment=~"$experiment"}', "{{experiment}}"),
                    ('gattway:sample_ratio:chi2_limit{experiment=~"$experiment"}', "{{experiment}} limit"),
                ],
            ),
            Show(
                "Left out",
                "Turns a second that no statistic counts, by reason, and conversations that changed their arm.",
                "short",
                [
                    (rate("gattway_excluded_turns_total", "reason", BY_ARM), "{{reason}}"),
                    (
                        rate("gattway_crossovers_total", "experiment", 'experiment=~"$experiment"'),
                        "{{experiment}} crossovers",
                    ),
                ],
            ),
        ],
    },
)
