"""Write one page of charts from the figures that are there: ``python -m benchmarks.report``.

The page is complete in itself: the charts are SVG inside it, and nothing is fetched to show it.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import charts, results
from benchmarks.table import times, verdict

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Benchmarks of runtime</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; }}
body {{ padding: 0 1em; }}
svg {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-size: 13px; margin: 1em 0 2em; }}
th, td {{ padding: 2px 10px; text-align: left; border-bottom: 1px solid #ddd; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
.over {{ color: #c0392b; font-weight: bold; }} .reached {{ color: #2e7d32; }}
</style>
</head>
<body>
<h1>Benchmarks of runtime</h1>
{body}
</body>
</html>
"""

Figures = Mapping[str, Mapping[str, Any]]


def job_of(group: str) -> str:
    """Return the job that a group of cases belongs to."""
    if group in ("publish wired", "publish managed"):
        return "wired publish"
    if group in ("publish guarded", "publish isolated"):
        return "guards and publishers"
    if group.startswith(("publish", "send")):
        return "publish"
    return group.split(",")[0].split(" ")[0]


def ratio_rows(figures: Figures) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every job's chart."""
    jobs: dict[str, list[dict[str, Any]]] = {}
    for python, content in figures.items():
        for each in content["ratios"]:
            row = {
                "python": python,
                "case": f"{each['group']}: {each['subject']} / {each['floor']}",
                "ratio": each["ratio"],
                "budget": each["budget"],
                "ambition": each["ambition"],
                "faster": each["faster"],
            }
            jobs.setdefault(job_of(each["group"]), []).append(row)
    return jobs


def ratio_sections(figures: Figures) -> Iterator[str]:
    """Yield a chart and a table for each job."""
    if not figures:
        return
    yield "<h2>Ratios to the floors</h2>"
    yield (
        "<p>A floor is what a careful engineer writes by hand for the same work. Floor and subject "
        "take turns in one process; a bar is the median of the rounds' ratios. "
        "<span class='over'>Red</span> lines are budgets, <span class='reached'>green</span> ones "
        "ambitions, the dotted line is the floor.</p>"
    )
    for job, rows in ratio_rows(figures).items():
        yield f"<h3 id='{escape(job)}'>{escape(job)}</h3>"
        yield charts.as_svg(charts.ratios(job, rows))
        yield ratio_table(rows, list(figures))


def ratio_table(rows: list[dict[str, Any]], versions: list[str]) -> str:
    """Return the table of a job: a row for each case, a column for each interpreter."""
    head = "".join(f"<th>{escape(each)}</th>" for each in versions)
    lines = [f"<tr><th>case</th>{head}<th>budget</th><th>ambition</th></tr>"]
    for case in dict.fromkeys(row["case"] for row in rows):
        found = {row["python"]: row for row in rows if row["case"] == case}
        # Whether it is written as faster is the same for all, or the row could not be read.
        faster = next(iter(found.values()))["faster"]
        cells = "".join(ratio_cell(found.get(python), faster=faster) for python in versions)
        bounds = "".join(
            f"<td class='n'>{'' if bound is None else times(bound, faster=faster)}</td>"
            for bound in (next(iter(found.values()))[name] for name in ("budget", "ambition"))
        )
        lines.append(f"<tr><td>{escape(case)}</td>{cells}{bounds}</tr>")
    return f"<table>{''.join(lines)}</table>"


def ratio_cell(row: Mapping[str, Any] | None, *, faster: bool) -> str:
    """Return a cell of a ratio, coloured by how it stands to its budget."""
    if row is None:
        return "<td></td>"
    style = ""
    if row["budget"] is not None:
        judged = verdict(row["ratio"], row["budget"], row["ambition"])
        style = {"OVER BUDGET": " over", "ambition met": " reached"}.get(judged, "")
    return f"<td class='n{style}'>{times(row['ratio'], faster=faster)}</td>"


def latency_sections(figures: Figures) -> Iterator[str]:
    """Yield the charts and the table of the latencies, for each interpreter."""
    if not figures:
        return
    yield "<h2>Latency under load</h2>"
    yield (
        "<p>Open loop: Poisson arrivals on a schedule that is fixed in advance, latency counted "
        "from the intended time, so that coordinated omission is avoided. One hot mailbox among "
        "1,000 quiet ones; loads are parts of each system's own saturation. The red line is the "
        "promise for the quiet mailboxes.</p>"
    )
    for python, content in figures.items():
        runs, promise = content["runs"], content["promise_ms"]
        yield charts.as_svg(charts.latency_bars(python, runs, promise))
        yield charts.as_svg(charts.latency_curves(python, runs))
        yield latency_table(runs)


def latency_table(runs: list[dict[str, Any]]) -> str:
    """Return the table of the latencies of one interpreter."""
    heads = ("load", "system", "mailboxes", "rate", "p50", "p99", "p99.9", "rejected", "")
    lines = [f"<tr>{''.join(f'<th>{each}</th>' for each in heads)}</tr>"]
    for run in runs:
        for part in ("hot", "quiet"):
            each = run[part]
            cells = [
                f"{each['offered'] / run['seconds']:,.0f}/s",
                *(milliseconds(charts.at(each, percent)) for percent in charts.POINTS),
                f"{each['rejected']:,}",
            ]
            lines.append(
                f"<tr><td>{escape(run['scenario'])}</td><td>{escape(run['system'])}</td>"
                f"<td>{part}</td>{''.join(f'<td class=n>{cell}</td>' for cell in cells)}"
                f"<td>{escape(run['trouble'] or '')}</td></tr>"
            )
    return f"<table>{''.join(lines)}</table>"


def milliseconds(nanoseconds: float | None) -> str:
    """Write a latency."""
    return "" if nanoseconds is None else f"{nanoseconds / 1e6:.3f} ms"


def scale_sections(figures: Figures) -> Iterator[str]:
    """Yield a chart of time, and one of bytes, for each series."""
    if not figures:
        return
    yield "<h2>Cost against size</h2>"
    names = dict.fromkeys(
        each["name"] for content in figures.values() for each in content["series"]
    )
    for name in names:
        series = {
            python: each
            for python, content in figures.items()
            for each in content["series"]
            if each["name"] == name
        }
        for quantity in ("time_ns", "bytes"):
            if any(p[quantity] is not None for each in series.values() for p in each["points"]):
                yield charts.as_svg(charts.scale(series, quantity))


def page(root: Path = results.ROOT) -> str:
    """Return the page for what is kept below a folder."""
    kept = [results.read(tool, root) for tool in ("ratios", "latency", "scale")]
    versions = sorted({content["python"] for each in kept for content in each.values()})
    parts = [f"<p>Measured with CPython {escape(', '.join(versions))}.</p>"]
    for section, figures in zip(
        (ratio_sections, latency_sections, scale_sections), kept, strict=True
    ):
        parts.extend(section(figures))
    return PAGE.format(body="\n".join(parts))


def main() -> int:
    """Write the page."""
    argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__).parse_args()
    target = results.ROOT / "index.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page())
    print(f"written to {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
