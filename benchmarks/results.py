"""Where figures are kept: one folder for each minor version, one file for each tool.

The folder belongs to the checkout that the benchmarks are in, whichever installation they measure.
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1] / "build" / "bench"


def minor() -> str:
    """Return the minor version of this interpreter."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def write(tool: str, figures: dict[str, Any], root: Path = ROOT) -> Path:
    """Keep the figures of a tool, replacing the earlier ones of this minor version."""
    path = root / minor() / f"{tool}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"tool": tool, "python": platform.python_version(), **figures}
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def read(tool: str, root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """Return the figures of a tool by minor version, the oldest version first."""
    found = {path.parent.name: path for path in root.glob(f"*/{tool}.json")}
    return {
        version: json.loads(found[version].read_text())
        for version in sorted(found, key=lambda each: [int(part) for part in each.split(".")])
    }
