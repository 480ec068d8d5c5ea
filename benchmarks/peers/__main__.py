"""Measure the peers: ``python -m benchmarks.peers [--rounds N] [--job NAME] [--peer NAME]``."""

import argparse
import gc
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from benchmarks import results
from benchmarks.peers.jobs import JOBS, Job, proved
from benchmarks.peers.ours import NAME
from benchmarks.peers.table import BLANKS, OURS, PACKAGES, PEERS, ROWS
from benchmarks.ratios import ROUNDS, compare


def version_of(peer: str) -> str:
    """Return the version of a peer: that of CPython for its own parts."""
    return version(PACKAGES[peer]) if peer in PACKAGES else platform.python_version()


def measure(job: Job, peers: list[str], rounds: int) -> Iterator[dict[str, Any]]:
    """Yield the figures of every row of a job, fastest first, and after them the blanks."""
    ours = OURS[job.name]
    rows = {row.peer: row for row in ROWS if row.job == job.name and row.peer in peers}
    ratios = list(compare([proved(ours)], [proved(row) for row in rows.values()], rounds))
    if ratios:
        row = {"peer": NAME, "does": ours.does, "ns": ratios[0].floor_ns, "factor": 1.0}
        yield {"job": job.name, **row}
    for ratio in sorted(ratios, key=lambda each: each.ratio):
        yield {
            "job": job.name,
            "peer": ratio.subject,
            "does": rows[ratio.subject].does,
            "ns": ratio.subject_ns,
            "factor": ratio.ratio,
            "spread": ratio.spread,
        }
    for blank in BLANKS:
        if job.name in blank.jobs and blank.peer in peers:
            yield {"job": job.name, "peer": blank.peer, "blank": blank.why}


def line(figures: dict[str, Any]) -> str:
    """Write one row of the table."""
    peer = figures["peer"]
    name = f"  {peer} {version_of(peer)}"
    if "blank" in figures:
        return f"{name:<24} {'-':>10}  {'':14}  {figures['blank']}"
    if peer == NAME:
        return f"{name:<24} {figures['ns']:>7,.0f} ns  {'':14}  {figures['does']}"
    spread = figures["spread"] / figures["factor"]
    factor = f"{figures['factor']:,.2f}x ±{spread:.0%}"
    return f"{name:<24} {figures['ns']:>7,.0f} ns  {factor:>14}  {figures['does']}"


def main() -> int:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds for each job")
    parser.add_argument("--job", choices=list(JOBS), help="do this job only; keeps nothing")
    parser.add_argument("--peer", choices=PEERS, help="measure this peer only; keeps nothing")
    options = parser.parse_args()
    jobs = [job for job in JOBS.values() if options.job in (None, job.name)]
    peers = [peer for peer in PEERS if options.peer in (None, peer)]
    # What the imports made is not looked at again before each case of each round.
    gc.collect()
    gc.freeze()
    print(f"CPython {platform.python_version()}, medians of {options.rounds} interleaved rounds;")
    print(f"factor: how many times faster {NAME} is; what a row does beyond calling its handlers")
    kept: list[dict[str, Any]] = []
    for job in jobs:
        print(f"\n{job.name}: {job.title}")
        for figures in measure(job, peers, options.rounds):
            kept.append(figures)
            print(line(figures), flush=True)
    behind = [each for each in kept if each.get("factor", 1.0) < 1.0]
    print(f"\n{NAME} is ahead of every peer at every job." if not behind else "")
    for each in behind:
        print(f"{NAME} is behind {each['peer']} at {each['job']}: {each['factor']:.2f}x")
    if len(jobs) == len(JOBS) and len(peers) == len(PEERS):
        versions = {peer: version_of(peer) for peer in (NAME, *PEERS)}
        titles = {job.name: job.title for job in jobs}
        figures = {"rounds": options.rounds, "versions": versions, "jobs": titles, "rows": kept}
        print(f"written to {results.write('peers', figures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
