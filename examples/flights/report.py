"""What a person reads at the end, and the same as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table

from .replay import Outcome

__all__ = ("complaints", "print_report", "write_summary")

BUSIEST: Final = 10

CARRIERS: Final = {
    "9E": "Endeavor",
    "AA": "American",
    "AS": "Alaska",
    "B6": "JetBlue",
    "DL": "Delta",
    "EV": "ExpressJet",
    "F9": "Frontier",
    "FL": "AirTran",
    "HA": "Hawaiian",
    "MQ": "Envoy",
    "OO": "SkyWest",
    "UA": "United",
    "US": "US Airways",
    "VX": "Virgin America",
    "WN": "Southwest",
    "YV": "Mesa",
}


def complaints(outcome: Outcome) -> list[str]:
    """Return what the runtime has promised and not kept: nothing, one hopes."""
    ledger, fleet = outcome.ledger, outcome.findings.fleet
    found: list[str] = []
    if fleet.out_of_order:
        found.append(f"{fleet.out_of_order} events reached their aircraft out of order")
    if ledger.handled != ledger.emitted:
        found.append(f"{ledger.emitted} events were emitted, but {ledger.handled} handled")
    if fleet.events.total() != ledger.handled:
        found.append(f"{ledger.handled} were handled, but {fleet.events.total()} logged")
    if ledger.sunk != ledger.published:
        found.append(f"{ledger.published} were published, but {ledger.sunk} saved")
    return found


def write_summary(outcome: Outcome, path: Path) -> None:
    """Write the summary as JSON."""
    findings = outcome.findings
    summary = {
        "events": findings.counts,
        "carriers": {
            carrier: {"departures": delays.departures, "mean_dep_delay": delays.mean}
            for carrier, delays in sorted(findings.delays.by_carrier.items())
        },
        "aircraft": len(findings.fleet.events),
        "out_of_order": findings.fleet.out_of_order,
        "busiest": dict(findings.fleet.events.most_common(BUSIEST)),
        "ledger": asdict(outcome.ledger),
        "rates": {verb: round(rate) for verb, _, _, rate in rates(outcome)},
        "seconds": outcome.seconds.total,
    }
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def rates(outcome: Outcome) -> list[tuple[str, int, float, float]]:
    """Return each verb with its count, the seconds it took, and its count per second.

    Emitted messages are handled while something else is awaited, so theirs is the whole run.
    """
    ledger, seconds = outcome.ledger, outcome.seconds
    return [
        (verb, count, spent, count / spent if spent else 0.0)
        for verb, count, spent in (
            ("publish", ledger.published, seconds.publishing),
            ("emit", ledger.handled, seconds.total),
            ("sink", ledger.sunk, seconds.sinking),
        )
    ]


def print_report(outcome: Outcome, output: Path) -> None:
    """Print everything for a person to read."""
    seconds = outcome.seconds
    page = Table.grid(padding=(0, 2))
    page.add_row(carriers_table(outcome), Group(events_table(outcome), aircraft_table(outcome)))
    page.add_row()
    page.add_row(rates_table(outcome), ledger_table(outcome))
    # The file's own text is shown as it is, square brackets and all.
    console = Console(markup=False, highlight=False)
    console.print(
        f"{outcome.flights:,} flights in {seconds.total:.2f} s, "
        f"{seconds.reading:.2f} s of them to read the file\n"
    )
    console.print(page)
    console.print(f"The events and a summary are in {output}", soft_wrap=True)


def events_table(outcome: Outcome) -> Table:
    """Show how many events there were of each type."""
    table = new_table("Events by type", "event", "count")
    for kind, count in outcome.findings.counts.most_common():
        table.add_row(kind, f"{count:,}")
    return table


def carriers_table(outcome: Outcome) -> Table:
    """Show the carriers, the most delayed first."""
    table = new_table("Carriers by mean departure delay", "carrier", "departures", "minutes")
    carriers = outcome.findings.delays.by_carrier
    for carrier in sorted(carriers, key=lambda each: carriers[each].mean, reverse=True):
        delays = carriers[carrier]
        name = f"{carrier} {CARRIERS.get(carrier, '')}"
        table.add_row(name, f"{delays.departures:,}", f"{delays.mean:.1f}")
    return table


def aircraft_table(outcome: Outcome) -> Table:
    """Show the aircraft that had the most events."""
    fleet = outcome.findings.fleet
    title = f"Busiest of {len(fleet.events):,} aircraft"
    table = new_table(title, "aircraft", "events")
    table.caption = f"{fleet.out_of_order:,} events out of order"
    for tailnum, count in fleet.events.most_common(BUSIEST):
        table.add_row(tailnum, f"{count:,}")
    return table


def rates_table(outcome: Outcome) -> Table:
    """Show how much of each verb was done, and how fast."""
    table = new_table("Rates", "verb", "events", "seconds", "per second")
    table.caption = "Emitted events are handled meanwhile: theirs is the whole run."
    for verb, count, spent, rate in rates(outcome):
        table.add_row(verb, f"{count:,}", f"{spent:.2f}", f"{rate:,.0f}")
    return table


def ledger_table(outcome: Outcome) -> Table:
    """Show what the terminal has counted."""
    table = new_table("Ledger", "messages", "count")
    for name, count in asdict(outcome.ledger).items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    return table


def new_table(title: str, label: str, *numbers: str) -> Table:
    """Return an empty table: a column of names, then columns of numbers."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=SIMPLE_HEAD,
        min_width=28,
    )
    table.add_column(label, no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table
