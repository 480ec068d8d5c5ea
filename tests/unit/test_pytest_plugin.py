"""The pytest plugin: a seed for the session, and fixtures that use it."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.testing import pytest_plugin

USES_SEED = """
def test_seed(runtime_seed):
    print("seed is", runtime_seed)
"""


def run_pytest(pytester: pytest.Pytester, program: str, *options: str) -> pytest.RunResult:
    """Run tests in a process of their own, with warnings as errors."""
    pytester.makepyfile(program)
    return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *options)


def seeds_of(result: pytest.RunResult) -> list[int]:
    """Return what tests printed, for a run with `-s`."""
    found = [line.partition("seed is ")[2] for line in result.outlines]
    return [int(each.rstrip(".")) for each in found if each]


def header_seed(result: pytest.RunResult) -> int:
    prefix = "runtime: --runtime-seed "
    (line,) = [line for line in result.outlines if line.startswith(prefix)]
    return int(line.removeprefix(prefix))


def test_the_seed_is_drawn_for_the_session(pytester: pytest.Pytester) -> None:
    """Every test of a session gets the seed that the header shows; another session another."""
    program = USES_SEED + USES_SEED.replace("test_seed", "test_again")
    first = run_pytest(pytester, program, "-s")
    first.assert_outcomes(passed=2)
    assert seeds_of(first) == [header_seed(first)] * 2
    second = run_pytest(pytester, program, "-s")
    assert header_seed(second) != header_seed(first)


def test_the_seed_can_be_given(pytester: pytest.Pytester) -> None:
    """`--runtime-seed` decides; test ids stay what they are."""
    result = run_pytest(pytester, USES_SEED, "-s", "-v", "--runtime-seed", "42")
    assert header_seed(result) == 42
    assert seeds_of(result) == [42]
    result.stdout.fnmatch_lines(["*::test_seed *"])


def test_several_seeds(pytester: pytest.Pytester) -> None:
    """`--runtime-seeds` runs the tests that use it under consecutive seeds, shown in their ids."""
    program = USES_SEED + "def test_other(): pass\ndef test_simulate(simulate): pass"
    result = run_pytest(
        pytester, program, "-s", "-v", "--runtime-seed", "42", "--runtime-seeds", "3"
    )
    result.assert_outcomes(passed=7)
    assert seeds_of(result) == [42, 43, 44]
    result.stdout.fnmatch_lines(
        [
            *[f"*::test_seed?seed{seed}?*" for seed in (42, 43, 44)],
            "*::test_other *",
            *[f"*::test_simulate?seed{seed}?*" for seed in (42, 43, 44)],
        ]
    )


def test_a_test_may_choose_its_seeds(pytester: pytest.Pytester) -> None:
    """A test that is parametrized with seeds of its own keeps them."""
    program = """
import pytest

@pytest.mark.parametrize("runtime_seed", [7, 8])
def test_seed(runtime_seed):
    print("seed is", runtime_seed)

@pytest.mark.parametrize(argnames="runtime_seed, other", argvalues=[(9, 0)])
def test_seed_by_keyword(runtime_seed, other):
    print("seed is", runtime_seed)
"""
    result = run_pytest(pytester, program, "-s", "--runtime-seeds", "3")
    result.assert_outcomes(passed=3)
    assert seeds_of(result) == [7, 8, 9]


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_seeds_are_an_error(pytester: pytest.Pytester, count: str) -> None:
    """Fewer seeds than one would skip tests silently."""
    result = run_pytest(pytester, USES_SEED, "--runtime-seeds", count)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--runtime-seeds must be at least 1*"])


def test_a_failure_names_the_seed(pytester: pytest.Pytester) -> None:
    """The report of a failed test that uses the seed says how to repeat it; others say nothing."""
    program = """
def test_seed(runtime_seed):
    assert False

def test_other():
    assert False
"""
    result = run_pytest(pytester, program, "--runtime-seed", "42")
    result.assert_outcomes(failed=2)
    assert result.outlines.count("repeat with --runtime-seed 42") == 1


def test_simulate_uses_the_seed(pytester: pytest.Pytester) -> None:
    """The fixture is the function with the seed filled in; its failures say how to repeat them."""
    program = """
import asyncio

async def main():
    await asyncio.sleep(3600)
    return asyncio.get_running_loop().seed

async def fail():
    raise LookupError

def test_seed(simulate):
    assert simulate(main()) == 42
    assert simulate(main(), seed=7) == 7

def test_failure(simulate):
    simulate(fail())
"""
    result = run_pytest(pytester, program, "--runtime-seed", "42")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*LookupError", "*simulate(..., seed=42)*--runtime-seed 42*"])


def test_other_plugins_can_drive_the_loop(pytester: pytest.Pytester) -> None:
    """The factory fits what anyio's plugin asks for."""
    program = """
import anyio
import pytest

@pytest.fixture
def anyio_backend(simulated_loop_factory):
    return "asyncio", {"loop_factory": simulated_loop_factory}

@pytest.mark.anyio
async def test_clock(runtime_seed):
    import asyncio
    await anyio.sleep(3600)
    loop = asyncio.get_running_loop()
    assert loop.time() >= 3600
    assert loop.seed == runtime_seed
"""
    run_pytest(pytester, program).assert_outcomes(passed=1)


def test_tests_that_do_not_ask_are_left_alone(pytester: pytest.Pytester) -> None:
    """No fixture of the plugin is set up, and no loop made, for a test that does not ask."""
    program = """
import sys

def test_plain(request):
    assert not [name for name in request.fixturenames if "runtime" in name or "simul" in name]

async def test_coroutine():
    pass
"""
    result = run_pytest(pytester, program, "--setup-show", "-rfE")
    # pytest itself refuses coroutines, with this plugin as without it.
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*async def functions are not natively supported*"])
    result.stdout.no_fnmatch_line("*SETUP*runtime*")


def test_workers_of_xdist_get_the_seed_of_the_session() -> None:
    """Workers have to collect the same tests, so they must not draw seeds of their own."""

    def session(**options: Any) -> SimpleNamespace:
        option = SimpleNamespace(runtime_seed=None, runtime_seeds=3)
        return SimpleNamespace(option=option, stash=pytest.Stash(), **options)

    config: Any = session()
    pytest_plugin.pytest_configure(config)
    node = SimpleNamespace(config=config, workerinput={})
    pytest_plugin.pytest_configure_node(node)
    worker: Any = session(workerinput=node.workerinput)
    pytest_plugin.pytest_configure(worker)
    assert worker.stash[pytest_plugin.SEED] == config.stash[pytest_plugin.SEED]


def test_only_the_plugin_needs_pytest() -> None:
    """The package, its loop and `simulate` work where pytest is not installed."""
    code = "import runtime.testing, sys; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False).returncode == 0
