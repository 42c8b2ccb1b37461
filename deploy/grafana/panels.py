"""What the dashboards are made of: panels with a title, a unit, a description and queries; rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
BY_ARM = 'experiment=~"$experiment", arm=~"$arm"'
BY_MODEL = f'{BY_ARM}, model=~"$model"'
WIDTH = 24
"""Columns of Grafana's grid."""


@dataclass(frozen=True)
class Show:
    """One panel.

    `queries` are pairs of PromQL and legend; `kind` is `lines`, `stacked`, `number` or `bars`; `unit` is one of
    Grafana's; `columns` its width.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[tuple[str, str]]
    kind: str = "lines"
    columns: int = 8
    most: float | None = None
    decimals: int | None = None


@dataclass(frozen=True, eq=False)
class Page:
    """One dashboard: rows by title."""

    uid: str
    title: str
    description: str
    rows: dict[str, list[Show]] = field(default_factory=dict)

    def build(self) -> dashboard.Dashboard:
        """The dashboard, with its variables and links to the others."""
        built = (
            dashboard.Dashboard(f"gattway / {self.title}")
            .uid(self.uid)
            .description(self.description)
            .tags(["gattway"])
            .refresh("30s")
            .time("now-6h", "now")
            .timezone("browser")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .link(
                dashboard.DashboardLink("gattway")
                .type(DashboardLinkType.DASHBOARDS)
                .tags(["gattway"])
                .include_vars(True)
                .keep_time(True)
            )
            .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        )
        for label in ("experiment", "arm", "model"):
            built = built.with_variable(_choice(label))
        for title, panels in self.rows.items():
            built = built.with_row(dashboard.Row(title))
            for show in panels:
                built = built.with_panel(_panel(show))
        return built


def _choice(label: str) -> dashboard.QueryVariable:
    """All values of a label; the empty one, of models that are named directly, is among "All"."""
    return (
        dashboard.QueryVariable(label)
        .label(label.capitalize())
        .query(f"label_values(gattway_requests_total, {label})")
        .datasource(DATASOURCE)
        .current(VariableOption(selected=True, text="All", value="$__all"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _panel(show: Show) -> Builder[Panel]:
    built = (
        _KINDS[show.kind]()
        .title(show.title)
        .description(show.description)
        .unit(show.unit)
        .datasource(DATASOURCE)
        .span(show.columns)
        .height(4 if show.kind == "number" else 8)
        .min(0)
    )
    if show.most is not None:
        built = built.max(show.most)
    if show.decimals is not None:
        built = built.decimals(show.decimals)
    for number, (expr, legend) in enumerate(show.queries):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(chr(ord("A") + number))
        query = query.exemplar(True).range() if show.kind in ("lines", "stacked") else query.instant()
        built = built.with_target(query.datasource(DATASOURCE))
    return built


def _lines() -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True).placement(LegendPlacement.BOTTOM)
    return (
        timeseries.Panel()
        .legend(legend.display_mode(LegendDisplayMode.LIST))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .line_width(1)
        .fill_opacity(0)
    )


def _stacked() -> timeseries.Panel:
    return _lines().fill_opacity(40).stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def _number() -> stat.Panel:
    return stat.Panel().graph_mode(BigValueGraphMode.NONE).reduce_options(_last())


def _bars() -> bargauge.Panel:
    return bargauge.Panel().orientation(VizOrientation.HORIZONTAL).reduce_options(_last())


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


_KINDS = {"lines": _lines, "stacked": _stacked, "number": _number, "bars": _bars}


def rate(series: str, by: str, labels: str = BY_MODEL) -> str:
    """PromQL: a counter's rate, summed by labels."""
    return f"sum by ({by}) (rate({series}{{{labels}}}[$__rate_interval]))"


def ratio(part: str, whole: str) -> str:
    """PromQL: a share; nothing where there is no whole."""
    return f"{part} / ({whole} > 0)"


def mean(histogram: str, by: str, labels: str = BY_MODEL) -> str:
    """PromQL: a histogram's mean by labels."""
    return ratio(rate(f"{histogram}_sum", by, labels), rate(f"{histogram}_count", by, labels))


def quantile(q: float, histogram: str, by: str = "", labels: str = BY_MODEL) -> str:
    """PromQL: a quantile of a histogram by labels."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', f'le, {by}' if by else 'le', labels)})"


TURNS = rate("gattway_conversation_turn_count", "experiment, arm", BY_ARM)
STARTED = f"sum by (experiment, arm) (increase(gattway_conversations_total{{{BY_ARM}}}[$__range]))"
SPENT = f"sum by (experiment, arm) (increase(gattway_cost_usd_total{{{BY_MODEL}}}[$__range]))"
ARM = "{{experiment}}/{{arm}}"
MODEL = 'model=~"$model"'
PROMPT = BY_MODEL + ', kind="prompt"'


def adherence(by: str, window: str) -> str:
    """PromQL: the share of verdicts that are adherent, by labels; 0 where all are drifted, nothing where none is."""
    judged = f'gattway_adherence_total{{{BY_ARM}, verdict=~"adherent|drifted"}}'
    good = judged.replace("adherent|drifted", "adherent")
    whole = f"sum by ({by}) (increase({judged}[{window}]))"
    return f"(sum by ({by}) (increase({good}[{window}])) or 0 * {whole}) / ({whole} > 0)"
