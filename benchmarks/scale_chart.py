"""Draw what one item costs where there are many: time and memory against size."""

from collections.abc import Sequence
from pathlib import Path

import altair as alt

from benchmarks.growth import Series

WIDTH = 300
HEIGHT = 220


def rows(found: Sequence[Series], quantity: str) -> list[dict[str, object]]:
    """Return the points that have a quantity, as a chart takes them."""
    return [
        {"what": series.name, "size": point.size, "cost": getattr(point, quantity)}
        for series in found
        for point in series.points
        if getattr(point, quantity) is not None
    ]


def panel(
    found: Sequence[Series], quantity: str, title: str, scale: alt.Scale, values: list[float]
) -> alt.Chart:
    """Return the chart of one quantity against size, which goes by powers of ten."""
    sizes = sorted({point.size for series in found for point in series.points})
    base: alt.Chart = alt.Chart(
        alt.InlineData(values=rows(found, quantity)), title=title, width=WIDTH, height=HEIGHT
    )
    drawn: alt.Chart = base.mark_line(point=True).encode(
        x=alt.X(
            "size:Q",
            title="how many there are",
            scale=alt.Scale(type="log", domain=[sizes[0], sizes[-1]]),
            axis=alt.Axis(format="~s", values=sizes),
        ),
        y=alt.Y(
            "cost:Q",
            title=None,
            scale=scale,
            axis=alt.Axis(format="~s", values=values) if values else alt.Axis(format="~s"),
        ),
        color=alt.Color(
            "what:N", title=None, scale=alt.Scale(domain=[series.name for series in found])
        ),
    )
    return drawn


def chart(found: Sequence[Series]) -> alt.HConcatChart:
    """Return the chart: time on the left, memory on the right."""
    times = [10.0**power for power in range(1, 6)]
    return alt.hconcat(
        panel(
            found,
            "time_ns",
            "Time of one, in nanoseconds",
            alt.Scale(type="log", domain=[times[0], times[-1]]),
            times,
        ),
        panel(found, "bytes", "Memory of one, in bytes", alt.Scale(zero=True), []),
    )


def draw(found: Sequence[Series], path: Path) -> None:
    """Write the chart into a file, as its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chart(found).save(path)
