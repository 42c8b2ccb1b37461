"""What was spent, and what the other way would have cost."""

from __future__ import annotations

from panels import ARM, BY_ARM, BY_MODEL, MODEL, PROMPT, Page, Show, quantile, rate, ratio

COST = Page(
    "gattway-cost",
    "Cost and counterfactual",
    "What was spent, on what, and what the same turns would have taken with the instruction placed otherwise.",
    {
        "Spend": [
            Show(
                "Spent",
                "US dollars in the time range.",
                "currencyUSD",
                [(f"sum(increase(gattway_cost_usd_total{{{BY_MODEL}}}[$__range]))", "USD")],
                "number",
                6,
                decimals=4,
            ),
            Show(
                "Burn",
                "US dollars an hour: the last hour beside the day.",
                "currencyUSD",
                [
                    (f"sum(gattway:cost_usd_per_hour:rate1h{{{BY_MODEL}}})", "hour"),
                    (f"sum(gattway:cost_usd_per_hour:rate1d{{{BY_MODEL}}})", "day"),
                ],
                "number",
                6,
                decimals=4,
            ),
            Show(
                "Shadow arms",
                "US dollars in the time range for answers that nobody saw; in no other figure here.",
                "currencyUSD",
                [(f"sum(increase(gattway_shadow_cost_usd_total{{{BY_ARM}}}[$__range])) or vector(0)", "USD")],
                "number",
                6,
                decimals=4,
            ),
            Show(
                "Counted here",
                "Share of requests whose usage the upstream did not give.",
                "percentunit",
                [
                    (
                        f"sum(rate(gattway_usage_estimated_total{{{MODEL}}}[$__rate_interval])) / "
                        f"sum(rate(gattway_requests_total{{{BY_MODEL}}}[$__rate_interval]))",
                        "counted",
                    )
                ],
                "number",
                6,
            ),
            Show(
                "By arm",
                "US dollars an hour.",
                "currencyUSD",
                [(f"3600 * {rate('gattway_cost_usd_total', 'experiment, arm')}", ARM)],
                "stacked",
            ),
            Show(
                "By model",
                "US dollars an hour.",
                "currencyUSD",
                [(f"3600 * {rate('gattway_cost_usd_total', 'model')}", "{{model}}")],
                "stacked",
            ),
            Show(
                "By kind",
                "US dollars an hour: fresh prompt tokens, cached ones, answers.",
                "currencyUSD",
                [(f"3600 * {rate('gattway_cost_usd_total', 'kind')}", "{{kind}}")],
                "stacked",
            ),
        ],
        "The other way": [
            Show(
                "Prompt tokens by strategy",
                "What the arms' turns took, and what each strategy would have taken for the same messages.",
                "short",
                [
                    (rate("gattway_tokens_total", "arm", PROMPT), "{{arm}}: sent"),
                    (rate("gattway_counterfactual_tokens_total", "arm, strategy"), "{{arm}}: {{strategy}}"),
                ],
                columns=12,
            ),
            Show(
                "Cost by strategy",
                "US dollars an hour that each strategy would have cost, by the model's prices and "
                "the rule of its prefix cache.",
                "currencyUSD",
                [(f"3600 * {rate('gattway_counterfactual_cost_usd_total', 'arm, strategy')}", "{{arm}}: {{strategy}}")],
                columns=12,
            ),
            Show(
                "Repetition's share",
                "Repeated instruction as a share of the prompt tokens.",
                "percentunit",
                [
                    (
                        ratio(
                            rate("gattway_tokens_total", "experiment, arm", f'{BY_MODEL}, kind="repeated_instruction"'),
                            rate("gattway_tokens_total", "experiment, arm", PROMPT),
                        ),
                        ARM,
                    )
                ],
            ),
            Show(
                "Cached share",
                "Prompt tokens that the provider's prefix cache served, by model.",
                "percentunit",
                [
                    (
                        ratio(
                            rate("gattway_tokens_total", "model", f'{BY_MODEL}, kind="cached"'),
                            rate("gattway_tokens_total", "model", PROMPT),
                        ),
                        "{{model}}",
                    )
                ],
                most=1,
            ),
            Show(
                "Count against usage",
                "How far the gateway's own count of a prompt is from the upstream's, p95.",
                "percentunit",
                [(quantile(0.95, "gattway_token_count_error_ratio", "model", MODEL), "{{model}}")],
            ),
        ],
    },
)
