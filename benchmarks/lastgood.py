"""The last good figure of each job: ``figures.json``, by minor version of CPython."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

FIGURES = Path(__file__).with_name("figures.json")


@dataclass(frozen=True)
class Good:
    """A figure that was within its bound, and when it was taken."""

    figure: float
    date: str
    version: str

    @classmethod
    def now(cls, figure: float) -> "Good":
        """Return a figure of today and of the version at hand."""
        return cls(
            round(figure, 4), datetime.now(UTC).date().isoformat(), version("message-runtime")
        )


def read(minor: str, path: Path = FIGURES) -> dict[str, Good]:
    """Return the last good figures of a minor version, by job."""
    if not path.exists():
        return {}
    rows = json.loads(path.read_text()).get(minor, {})
    return {name: Good(**row) for name, row in rows.items()}


def write(minor: str, figures: Mapping[str, Good], path: Path = FIGURES) -> None:
    """Replace the last good figures of a minor version."""
    everything: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    everything[minor] = {name: asdict(good) for name, good in figures.items()}
    path.write_text(json.dumps(everything, indent=2, sort_keys=True) + "\n")
