"""Let a contract test be a coroutine function: it runs on each kind of loop."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _both_loops(run_async: Callable[..., None]) -> None:
    """Run every contract test on both loops, whether it asks for one or not."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on the loop of its parameters."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
    run_async = pyfuncitem.funcargs["run_async"]
    assert callable(run_async)
    run_async(pyfuncitem.obj(**arguments))
    return True
