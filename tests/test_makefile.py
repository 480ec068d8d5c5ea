"""Every target of the Makefile knows how to make what it needs."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")
RULE = re.compile(r"^([a-z-]+):(?!=)([^#\n]*)", re.MULTILINE)
NEEDED = sorted(
    {name for _, names in RULE.findall(TEXT) for name in names.split()}
    | {"build/versions/3.11/.wheel"}
)


def test_targets_are_found() -> None:
    """Those that the README names are there."""
    assert {"run", "test", "bench", "bench-peers"} <= {name for name, _ in RULE.findall(TEXT)}
    assert "$(PEERS)/.wheel" in NEEDED


@pytest.mark.parametrize("name", NEEDED)
def test_what_a_target_needs_can_be_made(name: str) -> None:
    """There is a rule for it, and for what that needs in turn."""
    values = dict(re.findall(r"^(VENV|INSTALLED|PEERS|MYPY) := (.+)$", TEXT, re.MULTILINE))
    for variable, value in values.items():
        name = name.replace(f"$({variable})", value)
    # An outer `make` hands on how it was called itself.
    without = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", name],
        cwd=ROOT,
        env=without,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
