"""What needs an interpreter of its own: leaks, a long queue, an exit without a close."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    assert (done.returncode, done.stderr) == (0, stderr), done.stdout
