"""Dashboards and panels as this project draws them, on top of Grafana's own builders and their layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from grafana_foundation_sdk.builders import bargauge, common, heatmap, stat, table, tempo, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common as choose
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.tempo import SearchTableType

TAG = "halfbeat"
REPOSITORY = "https://github.com/halfbeat/halfbeat/blob/main"
PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
TEMPO = model.DataSourceRef(type_val="tempo", uid="${traces}")
GRID_WIDTH = 24

GREEN, AMBER, RED, CLEAR = "green", "orange", "red", "transparent"
#: From which value on which colour; None: from the beginning.
Levels = Sequence[tuple[float | None, str]]


class Panel(Protocol):
    """What all of the SDK's panel builders have."""

    def id(self, id_val: int) -> Self: ...
    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...
    def links(self, links: list[build.DashboardLink]) -> Self: ...
    def build(self) -> model.Panel: ...


@dataclass(frozen=True)
class Query:
    """One expression.

    Attributes:
        expr: PromQL.
        legend: what Grafana calls its series; "{{label}}" stands for a label's value.
        has_exemplars: dots that lead to traces are drawn with it.
    """

    expr: str
    legend: str = ""
    has_exemplars: bool = False


def above(*limits: tuple[float, str]) -> Levels:
    """Green up to the first limit, then the colour of each."""
    return [(None, GREEN), *limits]


def below(*limits: tuple[float, str]) -> Levels:
    """Red up to the first limit, then the colour of each."""
    return [(None, RED), *limits]


def lines(*limits: tuple[float, str]) -> Levels:
    """Nothing up to the first limit; drawn as lines and areas above it."""
    return [(None, CLEAR), *limits]


class Board:
    """A dashboard in the making. Panels fill rows of 24 columns from left to right."""

    def __init__(self, uid: str, title: str, description: str, *, instances: str, has_traces: bool = False) -> None:
        """Takes its names and what can be chosen.

        Args:
            uid: kept for ever, as links hold it.
            title: what comes after "halfbeat / ".
            description: for whom it is and what it answers.
            instances: regular expression of the metrics whose instances can be chosen.
            has_traces: a panel reads Tempo.
        """
        self._next_id = 1
        self._dashboard = (
            build.Dashboard(f"halfbeat / {title}")
            .uid(uid)
            .description(description)
            .tags([TAG])
            .readonly()
            .time("now-1h", "now")
            .refresh("30s")
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .variables(_variables(instances, has_traces))
            .links(
                [
                    build.DashboardLink("halfbeat").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True)
                    .include_vars(True).as_dropdown(False),
                    build.DashboardLink("Runbooks").type(model.DashboardLinkType.LINK)
                    .url(f"{REPOSITORY}/docs/runbooks").icon("doc").target_blank(True),
                ]
            )
        )  # fmt: skip

    def row(self, title: str, *panels: Panel) -> Self:
        """Adds a row and its panels."""
        self._dashboard.with_row(build.Row(title).id(self._take_id()))
        for panel in panels:
            self._dashboard.with_panel(panel.id(self._take_id()))
        return self

    def build(self) -> model.Dashboard:
        """Returns the dashboard."""
        return self._dashboard.build()

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def number(
    title: str, description: str, query: Query, *, unit: str, levels: Levels = ((None, "text"),), span: int = 4
) -> Panel:
    """One number over the time that is shown, coloured by its level."""
    panel = (
        stat.Panel()
        .graph_mode(choose.BigValueGraphMode.NONE)
        .color_mode(choose.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("none yet")
        .unit(unit)
        .thresholds(_thresholds(levels))
        .with_target(_target(query, 0).instant())
    )
    return _titled(panel.datasource(PROMETHEUS), title, description, span, 4)


def curves(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    levels: Levels = (),
    stacking: choose.StackingMode = choose.StackingMode.NONE,
    span: int = 8,
    height: int = 8,
    runbook: str = "",
) -> Panel:
    """Lines over time, or areas that add up; `levels` are drawn behind them; `runbook` names an alert's page."""
    is_stacked = stacking is not choose.StackingMode.NONE
    panel = (
        timeseries.Panel()
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(60 if is_stacked else 8)
        .stacking(common.StackingConfig().mode(stacking))
        .show_points(choose.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(choose.LegendDisplayMode.TABLE)
            .placement(choose.LegendPlacement.BOTTOM)
            .calcs(["mean", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(choose.TooltipDisplayMode.MULTI).sort(choose.SortOrder.DESCENDING))
        .datasource(PROMETHEUS)
    )
    if levels:
        style = common.GraphThresholdsStyleConfig().mode(choose.GraphThresholdsStyleMode.LINE_AND_AREA)
        panel = panel.thresholds(_thresholds(levels)).thresholds_style(style)
    for i, query in enumerate(queries):
        panel = panel.with_target(_target(query, i))
    return _titled(panel, title, description, span, height, runbook)


def heat(title: str, description: str, query: Query, *, unit: str, span: int = 12, height: int = 10) -> Panel:
    """How many observations fell into each of a histogram's buckets; the expression is a rate or increase by `le`."""
    panel = (
        heatmap.Panel()
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Spectral").reverse(True).steps(64))
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(choose.HeatmapCellLayout.LE))
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(choose.AxisPlacement.LEFT))
        .unit(unit)
        .with_target(_target(query, 0).format(PromQueryFormat.HEATMAP))
        .datasource(PROMETHEUS)
    )
    return _titled(panel, title, description, span, height)


def bars(
    title: str, description: str, *queries: Query, unit: str, levels: Levels = ((None, "text"),), span: int = 8,
    height: int = 8, most: float | None = None,
) -> Panel:  # fmt: skip
    """One horizontal bar for each series, over the time that is shown; `most` is the length of a whole bar."""
    panel = (
        bargauge.Panel()
        .orientation(choose.VizOrientation.HORIZONTAL)
        .display_mode(choose.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("none yet")
        .unit(unit)
        .min(0)
        .thresholds(_thresholds(levels))
        .datasource(PROMETHEUS)
    )
    if most is not None:
        panel = panel.max(most)
    for i, query in enumerate(queries):
        panel = panel.with_target(_target(query, i).instant())
    return _titled(panel, title, description, span, height)


def traces(title: str, description: str, traceql: str, *, span: int = 24, height: int = 8) -> Panel:
    """A table of traces that fit a TraceQL query."""
    query = tempo.TempoQuery().ref_id("A").query_type("traceql").query(traceql).limit(20).datasource(TEMPO)
    panel = table.Panel().unit("none").datasource(TEMPO).with_target(query.table_type(SearchTableType.TRACES))
    return _titled(panel, title, description, span, height)


def _titled(panel: Panel, title: str, description: str, span: int, height: int, runbook: str = "") -> Panel:
    panel = panel.title(title).description(description).span(span).height(height)
    if runbook:
        url = f"{REPOSITORY}/docs/runbooks/{runbook}.md"
        panel = panel.links([build.DashboardLink(f"Runbook {runbook}").url(url).target_blank(True)])
    return panel


def _target(query: Query, index: int) -> Dataquery:
    target = Dataquery().expr(query.expr).ref_id(chr(ord("A") + index)).datasource(PROMETHEUS).range()
    if query.legend:
        target = target.legend_format(query.legend)
    return target.exemplar(True) if query.has_exemplars else target


def _thresholds(levels: Levels) -> build.ThresholdsConfig:
    steps = [model.Threshold(value=value, color=color) for value, color in levels]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _variables(instances: str, has_traces: bool) -> list[build.QueryVariable | build.DatasourceVariable]:
    def chosen(name: str, label: str, query: str) -> build.QueryVariable:
        return (
            build.QueryVariable(name)
            .label(label)
            .datasource(PROMETHEUS)
            .query(query)
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            # Without a namespace (compose) the label is missing, which this matches too.
            .all_value(".*")
            .current(model.VariableOption(text=["All"], value=["$__all"], selected=True))
        )

    sources = [build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")]
    if has_traces:
        sources.append(build.DatasourceVariable("traces").label("Tempo").type("tempo"))
    in_namespace = f'{{__name__=~"{instances}",namespace=~"$namespace"}}'
    return [
        *sources,
        chosen("namespace", "Namespace", f'label_values({{__name__=~"{instances}"}}, namespace)'),
        chosen("instance", "Instance", f"label_values({in_namespace}, instance)"),
    ]
