"""Let a test be a coroutine function: it runs on the loop that `runtime.run` starts."""

import inspect

import pytest

import runtime


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    runtime.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
