"""The page of charts, and the table of versions, from figures that are there."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import report, results, versions
from benchmarks.floors import FLOORS
from benchmarks.latency import SCENARIOS, Part, Run, as_data
from benchmarks.loads import SYSTEMS
from benchmarks.openloop import PERCENTILES
from benchmarks.ratios import Ratio
from benchmarks.subjects import SUBJECTS
from benchmarks.table import as_data as ratios_as_data
from benchmarks.table import quantities

JOBS = ["publish", "wired publish", "emit", "ask", "sink", "scopes", "freeze", "import"]


def keep(root: Path, version: str, tool: str, figures: dict[str, object]) -> None:
    """Keep figures as if that interpreter had measured them."""
    path = root / version / f"{tool}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"tool": tool, "python": f"{version}.1", **figures}))


def keep_ratios(root: Path, version: str, ratio: float, without: str = "") -> None:
    """Keep the same ratio for each case, except for those of one group."""
    measured = [
        Ratio(floor.group, floor.name, subject.name, 1e6, ratio * 1e6, ratio, 0.1, 1e6, 41)
        for floor in FLOORS
        for subject in SUBJECTS
        if floor.group == subject.group and floor.group != without
    ]
    limits = [vars(each) for each in quantities(measured)]
    keep(root, version, "ratios", {"ratios": ratios_as_data(measured), "quantities": limits})


def keep_latencies(root: Path, version: str) -> None:
    """Keep latencies of each system under each load; one part has handled nothing."""
    part = Part(100, 90, 10, [(each, 1e4 * (1 + each)) for each in PERCENTILES])
    nothing = Part(100, 0, 100, [(each, float("nan")) for each in PERCENTILES])
    runs = [
        Run(system, each.name, 7, 3, 1e4, 9e3, 1e4, 1, "wall", nothing if n == 0 else part, part)
        for n, each in enumerate(SCENARIOS)
        for system in SYSTEMS
    ]
    keep(root, version, "latency", as_data(runs))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the figures of three interpreters."""
    tmp_path = tmp_path_factory.mktemp("figures")
    for version, ratio in (("3.11", 0.2), ("3.12", 1.15), ("3.9", 20.0)):
        keep_ratios(tmp_path, version, ratio, without="send" if version == "3.12" else "")
    keep_latencies(tmp_path, "3.11")
    series = {
        "name": "freeze",
        "unit": "handlers",
        "points": [{"size": 10**n, "time_ns": 100.0**n, "bytes": 10.0**n} for n in range(1, 4)],
        "bound": 12,
        "kind": "linear",
        "factor": 9.5,
    }
    keep(tmp_path, "3.11", "scale", {"series": [series]})
    return tmp_path


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """Return the page for those figures."""
    return report.page(root)


def test_figures_come_back_by_version_the_oldest_first(root: Path, tmp_path: Path) -> None:
    assert list(results.read("ratios", root)) == ["3.9", "3.11", "3.12"]
    path = results.write("ratios", {"ratios": []}, tmp_path)
    assert path.parent.name == results.minor()
    assert results.read("ratios", tmp_path)[results.minor()]["tool"] == "ratios"


def test_the_page_fetches_nothing(page: str) -> None:
    # The only addresses are the names of XML's vocabularies.
    addresses = set(re.findall(r"https?://[^\"'\s<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "<script" not in page
    assert not re.search(r"\b(src|href)\s*=|@import|url\((?!#)", page)


def test_each_job_has_a_chart_with_a_bar_for_each_interpreter(page: str) -> None:
    sections = dict(re.findall(r"<h3 id='([^']+)'>.*?</h3>\s*(<svg.*?</svg>)", page, re.DOTALL))
    assert set(JOBS) <= set(sections)
    for svg in sections.values():
        ET.fromstring(svg)
        for version in ("3.9", "3.11", "3.12"):
            assert f">{version}<" in svg
    # A group that one interpreter has not measured is blank there.
    assert ">send: runtime / await by hand<" in sections["publish"]


def test_budget_lines_are_where_there_are_budgets(page: str) -> None:
    sections = dict(re.findall(r"<h3 id='([^']+)'>.*?</h3>\s*(<svg.*?</svg>)", page, re.DOTALL))
    red = {job for job, svg in sections.items() if 'aria-label="budget: ' in svg}
    assert red == {"publish", "wired publish", "emit", "ask", "sink", "freeze"}


def test_latencies_and_scale_are_on_the_page_if_they_were_measured(page: str) -> None:
    for scenario in SCENARIOS:
        assert scenario.name in page
    for text in (
        "p50",
        "p99",
        "p99.9",
        "CPython 3.11: emit under load",
        "freeze (linear)",
        "9.50 of at most 12",
    ):
        assert text in page
    bars = [svg for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "under load" in svg]
    assert len(bars) == 1
    # Each system, load and percentile twice, but for the hot mailbox that has handled nothing.
    wanted = len(SYSTEMS) * len(SCENARIOS) * 3 * 2 - len(SYSTEMS) * 3
    assert bars[0].count('aria-roledescription="bar"') == wanted


def test_a_page_of_nothing_says_nothing_wrong(tmp_path: Path) -> None:
    page = report.page(tmp_path)
    assert "<h2>" not in page


def test_versions_have_a_column_each(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results.read, "__defaults__", (root,))
    assert versions.main(["--skipped", "python3.99", "--only", "3.11", "3.12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[3:] == ["3.11.1", "3.12.1", "budget", "ambition"]
    first = next(each for each in lines if each.startswith("publish x1"))
    assert "0.20x +" in first
    assert "1.15x  " in first
    queued = next(each for each in lines if each.startswith("ask, queued"))
    assert "0.87x faster !" in queued
    alone = next(each for each in lines if each.startswith("send"))
    assert len(re.findall(r"x faster", alone)) == 1
    assert lines[-1] == "skipped: python3.99, which is not there"


def test_versions_without_figures_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results.read, "__defaults__", (tmp_path,))
    assert versions.main(["--skipped", "python3.99"]) == 2
    assert capsys.readouterr().out == "skipped: python3.99, which is not there\n"
