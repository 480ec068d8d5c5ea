"""Run each scenario on a simulated loop, under a seed, and look at what it has left behind.

A scenario fails if a task is left, if the loop was told of a failure, or if anything was logged
that it does not expect: it lists regular expressions in the fixture `expected_logs`. That a handler
has blocked a real loop says something about the machine, and is passed over.
"""

import inspect
import logging
import re
from collections.abc import Iterator

import pytest

from runtime.testing import Simulate

SLOW_MACHINE = "blocked the event loop for"


@pytest.fixture
def expected_logs() -> list[str]:
    """Return what the scenario means to have logged, as regular expressions; empty is nothing."""
    return []


@pytest.fixture(autouse=True)
def _quiet_logs(caplog: pytest.LogCaptureFixture, expected_logs: list[str]) -> Iterator[None]:
    """Fail on warnings and errors in the log that nobody expects."""
    caplog.set_level(logging.WARNING)
    yield
    unexpected = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING
        and not any(re.search(each, record.getMessage()) for each in (*expected_logs, SLOW_MACHINE))
    ]
    assert unexpected == []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let `--runtime-seeds` count for scenarios that name no fixture."""
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames += [
            name for name in ("simulate", "runtime_seed") if name not in metafunc.fixturenames
        ]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a scenario that is a coroutine."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    simulate: Simulate = pyfuncitem._request.getfixturevalue("simulate")
    names = inspect.signature(pyfuncitem.obj).parameters
    simulate(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
