"""Fixtures for pytest: a seed for each run, and simulated loops that use it.

Loaded in every session where the package is installed, so it does nothing for a test that asks
for none of the fixtures.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from typing import Any, Final

import pytest

from runtime.testing.loops import SimulatedLoop
from runtime.testing.running import Simulate
from runtime.testing.running import simulate as run_simulated

__all__ = (
    "pytest_addoption",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_generate_tests",
    "pytest_report_header",
    "runtime_seed",
    "simulate",
    "simulated_loop_factory",
)

SEED: Final = pytest.StashKey[int]()
WORKER_INPUT: Final = "runtime_seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("runtime")
    group.addoption(
        "--runtime-seed",
        type=int,
        metavar="N",
        help="seed of the schedule of simulated loops; random by default",
    )
    group.addoption(
        "--runtime-seeds",
        type=int,
        default=1,
        metavar="N",
        help="run each test that uses the seed with N of them, counting up from the first",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the first seed of the session."""
    count: int = config.option.runtime_seeds
    if count < 1:
        msg = "--runtime-seeds must be at least 1"
        raise pytest.UsageError(msg)
    seed: int | None = config.option.runtime_seed
    if seed is None:
        # pytest-xdist: what `pytest_configure_node` has sent.
        seed = getattr(config, "workerinput", {}).get(WORKER_INPUT)
    if seed is None:
        seed = secrets.randbelow(2**32)
    config.stash[SEED] = seed


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist the seed of its session: all must collect the same tests."""
    node.workerinput[WORKER_INPUT] = node.config.stash[SEED]


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat the session."""
    return f"runtime: --runtime-seed {config.stash[SEED]}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses the seed once for each of several, if asked to."""
    count: int = metafunc.config.option.runtime_seeds
    if count == 1 or "runtime_seed" not in metafunc.fixturenames:
        return
    for mark in metafunc.definition.iter_markers("parametrize"):
        names: Any = mark.args[0] if mark.args else mark.kwargs["argnames"]
        if "runtime_seed" in names:
            return  # the test has chosen its seeds
    first = metafunc.config.stash[SEED]
    seeds = range(first, first + count)
    ids = [f"seed{seed}" for seed in seeds]
    metafunc.parametrize("runtime_seed", seeds, ids=ids, indirect=True)


@pytest.fixture
def runtime_seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of this run of the test; a failure report names it."""
    seed: int = getattr(request, "param", request.config.stash[SEED])
    request.node.add_report_section("setup", "runtime seed", f"repeat with --runtime-seed {seed}")
    return seed


@pytest.fixture
def simulate(runtime_seed: int) -> Simulate:
    """Return `runtime.testing.simulate`, with the seed filled in."""
    return functools.partial(run_simulated, seed=runtime_seed)


@pytest.fixture
def simulated_loop_factory(runtime_seed: int) -> Callable[[], SimulatedLoop]:
    """Return what makes simulated loops with the seed, for plugins that drive loops themselves."""
    return functools.partial(SimulatedLoop, seed=runtime_seed)
