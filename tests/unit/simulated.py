"""What the tests of the simulated loop share."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from runtime.testing import SimulatedLoop


def run_on(main: Coroutine[Any, Any, Any], *, debug: bool = False, **options: Any) -> Any:
    """Run a coroutine on a simulated loop with these options."""
    factory = lambda: SimulatedLoop(**options)  # noqa: E731
    with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
        return runner.run(main)


def go_round(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop go idle and wake up again, often, from another thread."""
    for _ in range(20):
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
