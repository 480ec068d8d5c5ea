"""Print the ratios that were measured under each interpreter: ``python -m benchmarks.versions``."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import results
from benchmarks.table import times, verdict

MARKS = {"OVER BUDGET": "!", "budget met": " ", "ambition met": "+", "": " "}
COLUMN = 15


def rows(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of one table, with a column for each interpreter."""
    heads = [content["python"] for content in figures.values()]
    yield f"{'group':<17} {'subject':<22} {'floor':<23}" + "".join(
        f" {head:>{COLUMN}}" for head in (*heads, "budget", "ambition")
    )
    found = [
        {(r["group"], r["subject"], r["floor"]): r for r in content["ratios"]}
        for content in figures.values()
    ]
    for key in dict.fromkeys(key for each in found for key in each):
        measured = [each.get(key) for each in found]
        one = next(row for row in measured if row is not None)
        cells = [cell(row, faster=one["faster"]) for row in measured]
        bounds = [
            "" if one[name] is None else f"{times(one[name], faster=one['faster'])}  "
            for name in ("budget", "ambition")
        ]
        group, subject, floor = key
        yield f"{group:<17} {subject:<22} {floor:<23}" + "".join(
            f" {each:>{COLUMN}}" for each in (*cells, *bounds)
        )
    yield from quantities(figures)


def cell(row: Mapping[str, Any] | None, *, faster: bool) -> str:
    """Write one ratio, marked by how it stands to its budget; blank if it was not measured."""
    if row is None:
        return ""
    judged = "" if row["budget"] is None else verdict(row["ratio"], row["budget"], row["ambition"])
    return f"{times(row['ratio'], faster=faster)} {MARKS[judged]}"


def quantities(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of what is measured beside the ratios."""
    found = [{q["name"]: q for q in content["quantities"]} for content in figures.values()]
    for name in dict.fromkeys(name for each in found for name in each):
        measured = [each.get(name) for each in found]
        one = next(each for each in measured if each is not None)
        cells = [
            ""
            if each is None
            else f"{each['value']:.3g} {one['unit']} "
            + MARKS[verdict(each["value"], each["budget"], each["ambition"])]
            for each in measured
        ]
        bounds = [f"{one[bound]:g} {one['unit']}  " for bound in ("budget", "ambition")]
        yield f"{name:<64}" + "".join(f" {each:>{COLUMN}}" for each in (*cells, *bounds))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description=__doc__)
    parser.add_argument("--skipped", nargs="*", default=[], help="interpreters that are not there")
    parser.add_argument("--only", nargs="*", help="minor versions to print, and no others")
    options = parser.parse_args(arguments)
    figures = {
        version: content
        for version, content in results.read("ratios").items()
        if options.only is None or version in options.only
    }
    if figures:
        print("\n".join(rows(figures)))
        print("+ the ambition is met   ! over budget")
    for each in options.skipped:
        print(f"skipped: {each}, which is not there")
    return 0 if figures else 2


if __name__ == "__main__":
    sys.exit(main())
