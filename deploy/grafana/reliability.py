"""Upstreams, streams, the ledger, overhead."""

from __future__ import annotations

from panels import ARM, BY_MODEL, MODEL, Page, Show, quantile, rate, ratio

RELIABILITY = Page(
    "gattway-reliability",
    "Reliability",
    "Upstreams, streams, the ledger, and the gateway's own share of the time.",
    {
        "Upstreams": [
            Show(
                "Failures",
                "By model and kind: `status` (it refused), `timeout`, `unavailable`, `resting` (not asked "
                "after too many failures).",
                "short",
                [(rate("gattway_upstream_errors_total", "model, kind", MODEL), "{{model}} {{kind}}")],
            ),
            Show(
                "Failures per request",
                "The alert's figure, over five minutes.",
                "percentunit",
                [(f"gattway:upstream_errors:ratio_rate5m{{{MODEL}}}", "{{model}}")],
            ),
            Show(
                "Retries and fallbacks",
                "Attempts after the first, and answers of another model than the arm's, a second.",
                "short",
                [
                    (rate("gattway_upstream_retries_total", "model", MODEL), "{{model}} retries"),
                    (rate("gattway_fallbacks_total", "model, instead_of", MODEL), "{{model}} for {{instead_of}}"),
                ],
            ),
        ],
        "Requests": [
            Show(
                "Requests that failed",
                "Share that ended with an error, by arm.",
                "percentunit",
                [
                    (
                        ratio(
                            rate("gattway_requests_total", "experiment, arm", f'{BY_MODEL}, outcome="error"'),
                            rate("gattway_requests_total", "experiment, arm"),
                        ),
                        ARM,
                    )
                ],
            ),
            Show(
                "Broken off",
                "Answers that the client left or the upstream cut, a second.",
                "short",
                [("sum by (by) (rate(gattway_streams_aborted_total[$__rate_interval]))", "{{by}}")],
            ),
            Show(
                "Refused",
                "Errors of the gateway's own, by class: wrong keys, limits, bad requests, a window that is full.",
                "short",
                [("sum by (error) (rate(gattway_refusals_total[$__rate_interval]))", "{{error}}")],
            ),
            Show(
                "Windows overflown",
                "Prompts that did not fit, a second.",
                "short",
                [(rate("gattway_context_overflow_total", "model, action"), "{{model}} {{action}}")],
            ),
            Show(
                "In flight",
                "Requests that are being answered, by gateway.",
                "short",
                [("sum by (instance) (gattway_in_flight_requests)", "{{instance}}")],
            ),
            Show(
                "Auxiliary",
                "Titles, tags and the like, and other routes: passed through, out of the statistics.",
                "reqps",
                [(rate("gattway_auxiliary_requests_total", "rule", MODEL), "{{rule}}")],
            ),
        ],
        "The gateway itself": [
            Show(
                "Overhead",
                "From a request's arrival until it goes to the model.",
                "s",
                [(quantile(q, "gattway_overhead_seconds"), f"p{q * 100:.0f}") for q in (0.5, 0.99)],
            ),
            Show(
                "Ledger",
                "Rows that are not written yet, by gateway.",
                "short",
                [("sum by (instance) (gattway_ledger_pending_rows)", "{{instance}}")],
            ),
            Show(
                "Ledger lag",
                "Age of the oldest row that is not written yet.",
                "s",
                [("max by (instance) (gattway_ledger_lag_seconds)", "{{instance}}")],
            ),
            Show(
                "Memory",
                "Resident memory of a gateway's process; not told by several workers.",
                "bytes",
                [('process_resident_memory_bytes{job="gattway"}', "{{instance}}")],
            ),
            Show(
                "CPU",
                "Cores in use; not told by several workers.",
                "short",
                [('rate(process_cpu_seconds_total{job="gattway"}[$__rate_interval])', "{{instance}}")],
            ),
            Show(
                "Limits and checks",
                "Gateways that hold limits by themselves because what they share is away, and answers a second that "
                "stayed unchecked in a rush.",
                "short",
                [
                    ("sum(gattway_limits_degraded)", "limits by themselves"),
                    ("sum(rate(gattway_examinations_dropped_total[$__rate_interval]))", "unchecked"),
                ],
            ),
            Show(
                "Up",
                "Gateways that answer Prometheus, by version.",
                "short",
                [("count by (version) (gattway_build_info)", "{{version}}")],
                "number",
                8,
            ),
        ],
    },
)
