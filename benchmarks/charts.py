"""Draw figures: ratios to the floors, latencies under load, cost against size."""

# Altair leaves parts of its signatures open.
# pyright: reportUnknownMemberType=false

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

Chart = alt.TopLevelMixin

WIDTH = 620
# Neither red nor green, which the bounds are.
COLORS = ["#4c78a8", "#f58518", "#b279a2", "#72b7b2", "#9d755d", "#bab0ac"]
BUDGET = "#c0392b"
AMBITION = "#2e7d32"
POINTS = (50.0, 99.0, 99.9)


def as_svg(chart: Chart) -> str:
    """Return a chart as the text of an SVG element; nothing is fetched to show it."""
    # Altair's context is where it says which version of the grammar it speaks.
    return vl_convert.vegalite_to_svg(chart.to_dict(), vl_version=vl_version())


def as_png(chart: Chart, scale: float = 1.5) -> bytes:
    """Return a chart as a picture."""
    return vl_convert.vegalite_to_png(chart.to_dict(), vl_version=vl_version(), scale=scale)


def vl_version() -> str:
    """Return the version of Vega-Lite that Altair writes, as the converter names it."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def ratios(job: str, rows: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw the ratios of one job: a bar for each interpreter, and a line at each budget.

    Each row has `case`, `python`, `ratio`, `budget` and `ambition`; the last two may be None.
    """
    cases = list(dict.fromkeys(row["case"] for row in rows))
    versions = list(dict.fromkeys(row["python"] for row in rows))
    bars = (
        alt.Chart(alt.InlineData(values=list(rows)))
        .mark_bar()
        .encode(
            x=alt.X("ratio:Q", title="time as a multiple of the floor's (shorter is better)"),
            y=alt.Y("case:N", sort=cases, title=None, axis=alt.Axis(labelLimit=330)),
            yOffset=alt.YOffset("python:N", sort=versions),
            color=alt.Color(
                "python:N",
                sort=versions,
                title="CPython",
                scale=alt.Scale(domain=versions, range=COLORS[: len(versions)]),
            ),
        )
    )
    labels = bars.mark_text(align="left", dx=3, fontSize=10).encode(
        text=alt.Text("ratio:Q", format=".2f"), color=alt.value("#333")
    )
    floor = (
        alt.Chart(alt.InlineData(values=[{"floor": 1}]))
        .mark_rule(color="#888", strokeDash=[2, 3])
        .encode(x="floor:Q")
    )
    lines = [
        line(rows, cases, name, color)
        for name, color in (("ambition", AMBITION), ("budget", BUDGET))
        if any(row[name] is not None for row in rows)
    ]
    step = max(16 * len(versions) + 10, 30)
    return alt.layer(bars, floor, *lines, labels).properties(
        title=job, width=WIDTH, height=alt.Step(step, **{"for": "position"})
    )


def line(
    rows: Sequence[Mapping[str, Any]], cases: Sequence[str], name: str, color: str
) -> alt.Chart:
    """Draw a short line across the bars of each case that has such a bound."""
    bounds = {row["case"]: row[name] for row in rows if row[name] is not None}
    values = [{"case": case, name: bound} for case, bound in bounds.items()]
    ticks: alt.Chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_tick(color=color, thickness=2.5, bandSize=28)
        .encode(x=f"{name}:Q", y=alt.Y("case:N", sort=list(cases)))
    )
    return ticks


def latency_bars(python: str, runs: Sequence[Mapping[str, Any]], promise_ms: float) -> Chart:
    """Draw p50, p99 and p99.9 of each part under each load, and the promise for the quiet ones."""
    values: list[dict[str, Any]] = [
        {
            "scenario": run["scenario"],
            "system": run["system"],
            "part": f"{part} {'mailbox' if part == 'hot' else 'mailboxes'}",
            "percentile": f"p{percent:g}",
            "ms": max(latency / 1e6, 1e-3),
            "promise": promise_ms,
        }
        for run in runs
        for part in ("quiet", "hot")
        for percent in POINTS
        if (latency := at(run[part], percent)) is not None
    ]
    scenarios = list(dict.fromkeys(each["scenario"] for each in values))
    systems = list(dict.fromkeys(each["system"] for each in values))
    low = 10.0 ** math.floor(math.log10(min(each["ms"] for each in values)))
    bars = (
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X("percentile:N", sort=[f"p{each:g}" for each in POINTS], title=None),
            xOffset=alt.XOffset("system:N", sort=systems),
            y=alt.Y(
                "ms:Q",
                title="ms, from the intended time to handled",
                scale=alt.Scale(type="log", domainMin=low),
            ),
            # A bar on a logarithmic scale needs somewhere to stand.
            y2=alt.Y2Datum(low),
            color=alt.Color(
                "system:N",
                sort=systems,
                title=None,
                scale=alt.Scale(domain=systems, range=COLORS[: len(systems)]),
            ),
        )
    )
    promise = alt.Chart().mark_rule(color=BUDGET, strokeDash=[6, 3]).encode(y="promise:Q")
    rows: list[alt.FacetChart] = [
        alt.layer(
            bars,
            *([promise] if part.startswith("quiet") else []),
            data=alt.InlineData(values=[each for each in values if each["part"] == part]),
        )
        .properties(width=150, height=150)
        .facet(column=alt.Column("scenario:N", sort=scenarios, title=part))
        for part in ("quiet mailboxes", "hot mailbox")
    ]
    return alt.vconcat(*rows).properties(title=f"CPython {python}: emit under load")


def at(part: Mapping[str, Any], percent: float) -> float | None:
    """Return a percentile in nanoseconds; None where nothing was handled."""
    found = {each[0]: each[1] for each in part["percentiles"]}[percent]
    return found if found == found else None


def latency_curves(python: str, runs: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw the whole distribution for the quiet mailboxes, the rarest latencies spread out."""
    values = [
        {
            "scenario": run["scenario"],
            "system": run["system"],
            "rarity": 100 / (100 - percent),
            "ms": max(latency / 1e6, 1e-3),
        }
        for run in runs
        for percent, latency in run["quiet"]["percentiles"]
        if percent < 100 and not math.isnan(latency)
    ]
    systems = list(dict.fromkeys(each["system"] for each in values))
    names = "{1: '0', 10: 'p90', 100: 'p99', 1000: 'p99.9', 10000: 'p99.99'}[datum.value]"
    chart: Chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(point=alt.OverlayMarkDef(size=14))
        .encode(
            x=alt.X(
                "rarity:Q",
                title=None,
                scale=alt.Scale(type="log"),
                axis=alt.Axis(values=[1, 10, 100, 1000, 10000], labelExpr=names),
            ),
            y=alt.Y("ms:Q", title="ms", scale=alt.Scale(type="log")),
            color=alt.Color(
                "system:N",
                sort=systems,
                title=None,
                scale=alt.Scale(domain=systems, range=COLORS[: len(systems)]),
            ),
        )
        .properties(width=150, height=150)
        .facet(
            column=alt.Column(
                "scenario:N",
                sort=list(dict.fromkeys(run["scenario"] for run in runs)),
                title="quiet mailboxes",
            )
        )
        .properties(title=f"CPython {python}: the whole distribution")
    )
    return chart


def scale(series: Mapping[str, Mapping[str, Any]], quantity: str) -> Chart:
    """Draw one series of each interpreter: the time of one item, or its bytes, against size."""
    first = next(iter(series.values()))
    values = [
        {"python": python, "size": point["size"], "cost": point[quantity]}
        for python, each in series.items()
        for point in each["points"]
        if point[quantity] is not None
    ]
    versions = list(series)
    unit = "ns" if quantity == "time_ns" else "bytes"
    growth = "; ".join(
        f"{python}: {each['factor']:.2f} of at most {each['bound']:g}"
        for python, each in series.items()
        if quantity == "time_ns" and each["factor"] is not None and each["bound"] is not None
    )
    chart: Chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(point=True)
        .encode(
            x=alt.X("size:Q", scale=alt.Scale(type="log"), title="how many there are"),
            y=alt.Y("cost:Q", scale=alt.Scale(zero=True), title=f"{unit} for one {first['unit']}"),
            color=alt.Color(
                "python:N",
                sort=versions,
                title="CPython",
                scale=alt.Scale(domain=versions, range=COLORS[: len(versions)]),
            ),
        )
        .properties(
            title=alt.Title(f"{first['name']} ({first['kind']})", subtitle=growth),
            width=WIDTH,
            height=180,
        )
    )
    return chart
