"""A program of 700 messages and 1,500 handlers is right, for the plugin and when it runs."""

import subprocess
import sys
from pathlib import Path

import pytest
from checkers import ROOT
from goldens import Mypy

COUNT = """\
import sys

sys.path.insert(0, ".")

from runtime import Command, run
from shop import app
from shop.base import ShopEvent


def derived(kind):
    return {kind}.union(*(derived(each) for each in kind.__subclasses__()))


messages = [each for each in derived(ShopEvent) | derived(Command) if ".d" in each.__module__]
print(len(messages), sum(len(each.handlers) for each in app.REGISTRIES))
app.make_terminal().explain(ShopEvent)
run(app.main())
"""


@pytest.fixture(scope="module")
def big_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the program, as the script writes it that the benchmark uses."""
    folder = tmp_path_factory.mktemp("big")
    script = ROOT / "benchmarks" / "bigproject.py"
    subprocess.run([sys.executable, "-P", str(script), str(folder)], check=True)
    return folder


def test_nothing_is_found(big_project: Path, tmp_path: Path) -> None:
    """Neither the plugin nor mypy itself has anything against it."""
    assert Mypy(tmp_path).run(big_project, "shop") == []


def test_it_runs(big_project: Path) -> None:
    """It has as many messages and handlers as it should, freezes, and handles an event."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", COUNT],
        cwd=big_project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("700 1500\n", "")
