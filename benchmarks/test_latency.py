"""What the latency tool says about its runs."""

import json

import pytest

from benchmarks import latency
from benchmarks.latency import PROMISE_MS, SCENARIOS, Part, Run, Scenario, judge, lines
from benchmarks.loads import SYSTEMS
from benchmarks.openloop import PERCENTILES


def part(milliseconds: float, rejected: int = 0) -> Part:
    """Return a part whose messages all had the same latency."""
    return Part(100, 100 - rejected, rejected, [(each, milliseconds * 1e6) for each in PERCENTILES])


def run_of(*, quiet: float = 1.0, after: float = 1_000, cpu: float = 1, clock: str = "wall") -> Run:
    """Return a run as it would have been measured."""
    return Run("runtime", "90 %", 7, 1.0, 1_000, after, 900, cpu, clock, part(9), part(quiet))


def test_the_promise_is_about_the_quiet_mailboxes() -> None:
    assert judge([run_of(quiet=PROMISE_MS)])[0].endswith("met")
    assert not judge([run_of(quiet=PROMISE_MS)])[0].endswith("NOT MET")
    assert judge([run_of(quiet=PROMISE_MS + 0.1)])[0].endswith("NOT MET")


def test_a_disturbed_run_says_so() -> None:
    assert run_of().trouble is None
    assert "slower" in str(run_of(after=800).trouble)
    assert "12%" in str(run_of(cpu=0.88).trouble)
    assert run_of(cpu=0.88, clock="cpu").trouble is None
    assert "doubtful" in lines(run_of(after=800))[-1]
    assert len(lines(run_of())) == 2


def test_a_disturbed_run_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([run_of(cpu=0.5), run_of(after=10), run_of(), run_of()])

    async def run_once(*_options: object) -> Run:
        return next(taken)

    monkeypatch.setattr(latency, "run_once", run_once)
    run = latency.measure("runtime", SCENARIOS[0], 1, 7, "wall")
    assert run.trouble is None
    assert run.tries == 3


def test_loads_are_parts_of_the_saturation() -> None:
    assert Scenario("half", 0.25, 0.25).rates(1_000) == (250, 250)
    # Twice what a handler that waits a millisecond can take.
    assert Scenario("waits", 0, 0.5, 0.001).rates(1_000) == (2_000, 500)


@pytest.mark.parametrize("scenario", SCENARIOS[2:], ids=lambda each: each.name)
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_message_is_handled_or_rejected(
    monkeypatch: pytest.MonkeyPatch, scenario: Scenario, system: str
) -> None:
    monkeypatch.setattr(latency, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(latency, "TRIES", 1)
    run = latency.measure(system, scenario, 0.05, 7, "wall")
    for each in (run.hot, run.quiet):
        assert each.offered == each.handled + each.rejected
        assert each.offered > 0
        values = [value for _, value in each.percentiles]
        assert values == sorted(values)
        assert values[0] > 0
    assert run.quiet.rejected == 0
    data = json.loads(json.dumps(latency.as_data([run])))
    assert data["runs"][0]["quiet"]["percentiles"][0][0] == 0
