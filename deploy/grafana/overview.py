"""What the gateway does right now."""

from __future__ import annotations

from panels import ARM, BY_ARM, BY_MODEL, Page, Show, adherence, quantile, rate

OVERVIEW = Page(
    "gattway-overview",
    "Overview",
    "What the gateway does right now: traffic, latency, money, adherence.",
    {
        "Now": [
            Show(
                "Requests",
                "Answers that have ended, a second.",
                "reqps",
                [(f"sum({rate('gattway_requests_total', 'outcome')})", "requests")],
                "number",
                4,
                decimals=2,
            ),
            Show(
                "Answered",
                "Share of requests that ended with a whole answer.",
                "percentunit",
                [
                    (
                        f'sum(rate(gattway_requests_total{{{BY_MODEL}, outcome="ok"}}[$__rate_interval])) / '
                        f"sum(rate(gattway_requests_total{{{BY_MODEL}}}[$__rate_interval]))",
                        "ok",
                    )
                ],
                "number",
                4,
            ),
            Show(
                "In flight",
                "Requests that are being answered, over all gateways.",
                "short",
                [("sum(gattway_in_flight_requests)", "in flight")],
                "number",
                4,
            ),
            Show(
                "First token, p95",
                "Time until 95 of 100 streams have their first token.",
                "s",
                [(quantile(0.95, "gattway_time_to_first_token_seconds"), "p95")],
                "number",
                4,
            ),
            Show(
                "Spend",
                "US dollars an hour, over the last hour.",
                "currencyUSD",
                [(f"sum(gattway:cost_usd_per_hour:rate1h{{{BY_MODEL}}})", "USD/h")],
                "number",
                4,
                decimals=2,
            ),
            Show(
                "Adherence",
                "Share of checked answers that follow their instruction, over the last hour.",
                "percentunit",
                [(adherence("", "1h").replace("sum by ()", "sum"), "adherent")],
                "number",
                4,
            ),
        ],
        "Traffic": [
            Show(
                "Requests by outcome",
                "`ok`: answered whole; `error`: refused or broken off; `aborted`: the client left.",
                "reqps",
                [(rate("gattway_requests_total", "outcome"), "{{outcome}}")],
                "stacked",
            ),
            Show(
                "Requests by arm",
                "Empty names are models that were named directly.",
                "reqps",
                [(rate("gattway_requests_total", "experiment, arm"), ARM)],
                "stacked",
            ),
            Show(
                "Conversations begun",
                "Dealt to an arm by an experiment, a second.",
                "short",
                [(rate("gattway_conversations_total", "experiment, arm", BY_ARM), ARM)],
                "stacked",
            ),
            Show(
                "Tokens by kind",
                "`cached` is a part of `prompt`, `reasoning` of `completion`; `instruction` and "
                "`repeated_instruction` say how much of the prompts keeps the instruction alive.",
                "short",
                [(rate("gattway_tokens_total", "kind"), "{{kind}}")],
            ),
            Show(
                "Duration",
                "From the request's arrival to its last byte.",
                "s",
                [(quantile(q, "gattway_request_duration_seconds"), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)],
            ),
            Show(
                "Window used",
                "Prompt and answer as a share of the model's context window.",
                "percentunit",
                [(quantile(q, "gattway_context_used_ratio"), f"p{q * 100:.0f}") for q in (0.5, 0.95)],
                most=1,
            ),
        ],
    },
)
