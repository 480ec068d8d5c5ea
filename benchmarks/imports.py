"""Importing the package, in an interpreter that has just started."""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.workload import Run

NEEDED = "import asyncio, msgspec"
"""What a service that uses neither would not do without."""
SUBJECT = f"{NEEDED}, runtime"


@asynccontextmanager
async def importing(statement: str) -> AsyncGenerator[Run]:
    """Start an interpreter, have it run one statement, and wait for its end."""
    with tempfile.TemporaryDirectory() as folder:
        # Compiled modules are found where an earlier start has left them, as in any installation,
        # also where this checkout is told to keep none.
        settings = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        settings.pop("PYTHONDONTWRITEBYTECODE", None)
        elsewhere = Path(folder)

        async def run(n: int) -> None:
            for _ in range(n):
                # Nothing else runs on this loop.
                subprocess.run(  # noqa: ASYNC221
                    [sys.executable, "-c", statement], env=settings, cwd=elsewhere, check=True
                )

        await run(1)
        yield run
