"""The measure of scale measures: small crowds, and verdicts that are known."""

import asyncio
from unittest.mock import create_autospec

import pytest

from benchmarks import results, scale
from benchmarks.growth import FLAT, LINEAR, Point, Series, flat, linear
from benchmarks.scale import Extent

SMALL = Extent(types=1_000, handlers=100, scopes=10_000, emits=10_000, rounds=3)


def series_of(*nanoseconds: float) -> list[Point]:
    """Return points of one item's time, at 10, 100 and so on."""
    return [Point(10**power, each) for power, each in enumerate(nanoseconds, start=1)]


def linear_of(*nanoseconds: float) -> Series:
    """Return the verdict on such points, of one round."""
    return linear("cost", "one", series_of(*nanoseconds), [[each] for each in nanoseconds])


@pytest.mark.parametrize("part", scale.PARTS)
def test_a_part_measures(part: scale.Part) -> None:
    """Every series has points of growing size, with a time, and a factor if it has a bound."""
    for series in asyncio.run(part(SMALL)):
        sizes = [point.size for point in series.points]
        assert sizes == sorted(set(sizes))
        assert all(point.time_ns is not None and point.time_ns > 0 for point in series.points)
        if len(sizes) > 1 and series.bound is not None:
            assert series.factor is not None
            assert series.factor > 0


def test_what_grows_in_proportion_is_linear() -> None:
    """Ten times the time for ten times the size is within the bound; its square is not."""
    assert not linear_of(5, 5, 5).is_broken
    squared = linear_of(1, 10, 100)
    assert squared.factor == pytest.approx(100)
    assert squared.is_broken


def test_the_worst_step_counts() -> None:
    """A jump in the middle is not evened out by the rest."""
    jump = linear_of(5, 5, 10, 10)
    assert jump.factor == pytest.approx(20)
    assert jump.bound == LINEAR


def test_what_grows_is_not_flat() -> None:
    """A tenth more is all that there may be."""
    assert not flat("same", "one", series_of(5, 5), FLAT).is_broken
    assert flat("more", "one", series_of(5, 6), 1.2).is_broken


def test_a_broken_bound_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is measured once more, and then named."""
    tries: list[Series] = []

    def measure(part: scale.Part, extent: Extent) -> list[Series]:
        tries.append(flat("slow", "one", series_of(5, 9), 1.8))
        return [tries[-1]]

    monkeypatch.setattr(scale, "in_own_process", measure)
    monkeypatch.setattr(scale, "PARTS", (scale.emitting,))
    monkeypatch.setattr(results, "write", create_autospec(results.write))
    assert scale.main(["--quick"]) == 1
    assert len(tries) == 2
    assert "slow: 1.80x" in capsys.readouterr().err
