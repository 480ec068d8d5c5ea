"""Let a test be a coroutine function: it runs on the loop that `runtime.run` starts.

A module in which time passes says `SIMULATED = True`, and its tests run on a simulated loop.
"""

import inspect

import pytest

import runtime
from runtime.testing import simulate


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    is_simulated = getattr(pyfuncitem.module, "SIMULATED", False)
    run = simulate if is_simulated else runtime.run
    run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
