"""`runtime.run` starts the loop that the runtime is made for."""

import asyncio
import sys

import pytest

from runtime import run


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not made for Windows")
def test_run_uses_uvloop_and_returns_the_result() -> None:
    """The coroutine runs on uvloop, and its result comes back."""

    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run(main()) == "uvloop"


def test_run_raises_what_the_coroutine_raises() -> None:
    """An error of the program is the program's own."""

    async def main() -> None:
        msg = "out of stock"
        raise LookupError(msg)

    with pytest.raises(LookupError, match="out of stock"):
        run(main())


def test_run_passes_debug_on() -> None:
    """`debug=True` is asyncio's debug mode."""

    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert run(main(), debug=True)


def test_run_inside_a_loop_is_an_error() -> None:
    """A loop cannot be started where one runs."""

    async def main() -> None:
        run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="while an event loop runs in this thread"):
        run(main())
