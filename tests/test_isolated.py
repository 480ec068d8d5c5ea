"""What needs an interpreter of its own: leaks, a long queue, an exit without a close."""

import subprocess
import sys
from pathlib import Path

import pytest

STALLED = " blocked the event loop for "
SCRIPTS = sorted((Path(__file__).parent / "isolated").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_isolated(script: Path) -> None:
    """The script ends well, and says on stderr what its `.stderr` file says, else nothing."""
    expected = script.with_suffix(".stderr")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    stderr = expected.read_text(encoding="utf-8") if expected.exists() else ""
    # A busy machine may halt a process for longer than a handler may block the loop.
    said = [line for line in done.stderr.splitlines(keepends=True) if STALLED not in line]
    assert (done.returncode, "".join(said)) == (0, stderr), done.stdout
