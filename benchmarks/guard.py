"""Fail if a job takes more than its bound: ``python -m benchmarks.guard``.

What is above its bound is measured once more, with more rounds, before that counts. The last good
figures are printed beside those of today, so that what creeps is seen before it is over a bound;
``--update`` makes the figures of today the last good ones.
"""

import argparse
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from benchmarks import lastgood
from benchmarks.fitness import compiled_modules, unfit
from benchmarks.floors import FLOORS
from benchmarks.jobs import JOBS, Job, Measure
from benchmarks.lastgood import FIGURES, Good
from benchmarks.results import minor
from benchmarks.subjects import SUBJECTS

ROUNDS = 41
AGAIN = 101
"""Rounds for what was above its bound."""
CREEP = 0.15
"""How far above its last good figure a job is pointed out."""

Measuring = Callable[[AbstractSet[str], int], Mapping[str, float]]
"""Returns the figure of each job of some groups, by name, from so many rounds."""


@dataclass(frozen=True)
class Finding:
    """What was measured of a job, beside its bound and its last good figure."""

    job: Job
    figure: float
    good: Good | None

    @property
    def is_within(self) -> bool:
        """Tell whether the figure is within the bound."""
        return self.figure <= self.job.bound

    @property
    def growth(self) -> float:
        """Return by what part of the last good figure this one is above it."""
        return (
            0 if self.good is None or self.good.figure <= 0 else self.figure / self.good.figure - 1
        )

    def since(self) -> str:
        """Write the last good figure, and how far this one is from it."""
        if self.good is None:
            return f"no last good figure on CPython {minor()}"
        last = f"last good figure {self.job.write(self.good.figure)}"
        where = f"{abs(self.growth):.0%} {'above' if self.growth >= 0 else 'below'} it"
        return f"{last} ({self.good.version}, {self.good.date}), {where}"

    def __str__(self) -> str:
        job = self.job
        figure, bound = job.write(self.figure), job.write(job.bound)
        return f"{job.name:<58} {figure:>13}  bound {bound:>13}  {self.since()}"

    def failure(self) -> str:
        """Say what is wrong, in a line."""
        job = self.job
        return (
            f"TOO MUCH: {job.name}: {job.write(self.figure)}, and the bound is "
            f"{job.write(job.bound)} (budget {job.write(job.budget)}); {self.since()}"
        )

    def creep(self) -> str:
        """Say how far the figure has crept."""
        return f"CREEPING: {self.job.name}: {self.job.write(self.figure)}; {self.since()}"


def check(
    jobs: Sequence[Job], measure: Measuring, goods: Mapping[str, Good], rounds: int = ROUNDS
) -> list[Finding]:
    """Measure jobs, those above their bound once more, and print and return what was found.

    Raises `LookupError` for a job that was not measured.
    """
    figures = dict(measure({job.group for job in jobs}, rounds))
    if unmeasured := [job.name for job in jobs if job.name not in figures]:
        msg = f"no case measures {', '.join(unmeasured)}: rename it in budgets.py as well"
        raise LookupError(msg)
    if over := [job for job in jobs if figures[job.name] > job.bound]:
        print(f"above its bound, measured again: {'; '.join(job.name for job in over)}")
        again = measure({job.group for job in over}, max(AGAIN, rounds))
        for job in over:
            figures[job.name] = min(figures[job.name], again[job.name])
    findings = [Finding(job, figures[job.name], goods.get(job.name)) for job in jobs]
    for finding in findings:
        print(finding)
    return findings


def keep(findings: Sequence[Finding], goods: Mapping[str, Good], path: Path) -> None:
    """Make the figures that are within their bounds the last good ones."""
    new = {each.job.name: Good.now(each.figure) for each in findings if each.is_within}
    lastgood.write(minor(), {**goods, **new}, path)
    print(f"{len(new)} figures kept in {path}")


def main(
    arguments: Sequence[str] | None = None,
    measure: Measuring = Measure(FLOORS, SUBJECTS),  # noqa: B008 -- a value
    path: Path = FIGURES,
) -> int:
    """Check every job, and return how many are above their bounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__)
    groups = sorted({job.group for job in JOBS})
    parser.add_argument("--group", action="append", choices=groups, help="check this group only")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds for each group")
    parser.add_argument("--update", action="store_true", help="keep the figures as good ones")
    options = parser.parse_args(arguments)
    if reason := unfit(compiled_modules()):
        print(f"cannot guard: {reason}")
        return 2
    goods = lastgood.read(minor(), path)
    print(f"CPython {platform.python_version()}, medians of {options.rounds} interleaved rounds")
    jobs = [job for job in JOBS if options.group is None or job.group in options.group]
    findings = check(jobs, measure, goods, options.rounds)
    if options.update:
        keep(findings, goods, path)
    for finding in findings:
        if not finding.is_within:
            print(finding.failure())
        elif finding.growth > CREEP:
            print(finding.creep())
    return 0 if all(finding.is_within for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
