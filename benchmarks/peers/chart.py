"""Draw the factors of the peers, for the README: ``python -m benchmarks.peers.chart``."""

# Altair leaves parts of its signatures open.
# pyright: reportUnknownMemberType=false

import sys
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from benchmarks import results

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "peers.svg"
COLUMNS = 2
WIDTH = 250
STEP = 17

BACKGROUND, TEXT, FAINT, BAR, BEHIND = "#ffffff", "#1f2328", "#d1d9e0", "#2a78b8", "#bc4c00"
DARK = {
    BACKGROUND: "#0d1117",
    TEXT: "#e6edf3",
    FAINT: "#3d444d",
    BAR: "#58a6ff",
    BEHIND: "#f0883e",
}
"""What each colour becomes where the reader prefers dark pages."""


def label(factor: float) -> str:
    """Write a factor with three figures or so."""
    digits = 2 if factor < 10 else 1 if factor < 100 else 0
    return f"{factor:,.{digits}f} x"


def panel(title: str, rows: list[dict[str, Any]], domain: tuple[float, float]) -> alt.LayerChart:
    """Draw one job: a bar for each peer, from 1, where the runtime is, to its factor."""
    values = [
        {**row, "label": label(row["factor"]), "one": 1, "end": max(row["factor"], 1.0)}
        for row in rows
    ]
    base = alt.Chart(alt.InlineData(values=values)).encode(y=alt.Y("peer:N", sort=None, title=None))
    bars = base.mark_bar(height=alt.RelativeBandSize(0.65)).encode(
        x=alt.X(
            "factor:Q",
            scale=alt.Scale(type="log", domain=domain, nice=False),
            axis=alt.Axis(values=[1, 10, 100, 1000], format="~s", title=None),
        ),
        x2="one:Q",
        color=alt.condition("datum.factor < 1", alt.value(BEHIND), alt.value(BAR)),
    )
    labels = base.mark_text(align="left", dx=4).encode(x="end:Q", text="label:N")
    return alt.LayerChart(layer=[bars, labels]).properties(
        title=title, width=WIDTH, height=alt.Step(STEP)
    )


def chart_of(figures: dict[str, Any]) -> alt.VConcatChart:
    """Draw all jobs that are shared with a peer."""
    rows = [row for row in figures["rows"] if "factor" in row and row["peer"] != "runtime"]
    factors = [row["factor"] for row in rows]
    # Room for the labels behind the longest bar.
    domain = (min(0.5, 0.8 * min(factors)), 5 * max(factors))
    panels = [
        panel(title, [row for row in rows if row["job"] == job], domain)
        for job, title in figures["jobs"].items()
        if any(row["job"] == job for row in rows)
    ]
    lines = [
        alt.hconcat(*panels[start : start + COLUMNS], spacing=24)
        for start in range(0, len(panels), COLUMNS)
    ]
    chart: alt.VConcatChart = (
        alt.vconcat(*lines, spacing=18)
        .properties(
            title=alt.Title(
                "How many times faster runtime is than its peers at the same work",
                subtitle=f"medians of {figures['rounds']} interleaved rounds in one process, "
                f"CPython {figures['python']}, logarithmic; 1 is runtime",
                fontSize=15,
                subtitleFontSize=11,
                color=TEXT,
                subtitleColor=TEXT,
                anchor="start",
                offset=14,
            ),
            background=BACKGROUND,
            padding=16,
        )
        .configure(font="sans-serif")
        .configure_view(stroke=None)
        .configure_title(color=TEXT, fontSize=11, anchor="start", fontWeight="bold")
        .configure_text(color=TEXT, fontSize=10)
        .configure_axis(
            labelColor=TEXT,
            titleColor=TEXT,
            domainColor=FAINT,
            gridColor=FAINT,
            tickColor=FAINT,
            labelLimit=120,
        )
        .configure_axisY(minExtent=90)
    )
    return chart


def svg_of(figures: dict[str, Any]) -> str:
    """Return the picture, readable on light and on dark pages."""
    svg: str = vl_convert.vegalite_to_svg(chart_of(figures).to_dict())
    turned = "".join(
        f'[{attribute}="{light}"]{{{attribute}:{dark}}}'
        for light, dark in DARK.items()
        for attribute in ("fill", "stroke")
    )
    head, inside = svg.split(">", 1)
    return f"{head}><style>@media (prefers-color-scheme:dark){{{turned}}}</style>{inside}\n"


def main() -> int:
    """Draw the figures that this minor version kept last."""
    figures = results.read("peers").get(results.minor())
    if figures is None:
        print(f"no figures for CPython {results.minor()}: run python -m benchmarks.peers first")
        return 2
    PICTURE.write_text(svg_of(figures))
    print(f"drawn in {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
