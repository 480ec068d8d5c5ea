"""Several sinks of one terminal, chosen by the type of the event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from runtime.errors import SinkError, SinkUnset
from runtime.sinks.base import Record, Sink

__all__ = ("Routing", "Sinks", "check_sink", "persist")

Sinks = Sink | Mapping[Any, Sink]
"""One sink for all events, or one for each of some types and what is derived from them."""


class Routing:
    """The sinks of a terminal; an event goes to that of the nearest class in its MRO.

    Each is opened and closed once, however many types it takes.
    """

    def __init__(self, sinks: Mapping[Any, Sink], terminal: str) -> None:
        self._sinks: dict[type, Sink] = dict(sinks)
        self._terminal = terminal
        self._open: list[Sink] = []

    async def open(self) -> None:
        """Open those that can be opened, and are not open yet."""
        for sink in distinct(self._sinks.values()):
            if not any(each is sink for each in self._open):
                opener = getattr(sink, "open", None)
                if opener is not None:
                    await opener()
                self._open.append(sink)

    async def sink(self, records: Sequence[Record], /) -> None:
        """Persist records in their stores, one store after the other.

        Raises `SinkUnset`, with nothing written, if an event has no sink, and `SinkError` with the
        records that no store has confirmed.
        """
        groups: list[tuple[Sink, list[Record]]] = []
        for record in records:
            sink = self._find(type(record.event))
            for known, group in groups:
                if known is sink:
                    group.append(record)
                    break
            else:
                groups.append((sink, [record]))
        for number, (sink, group) in enumerate(groups):
            try:
                await persist(sink, group)
            except SinkError as error:
                rest = [each for _, others in groups[number:] for each in others]
                raise SinkError(str(error), rest) from error

    def _find(self, kind: type) -> Sink:
        for base in kind.__mro__:
            if base in self._sinks:
                return self._sinks[base]
        raise SinkUnset.of_type(self._terminal, kind, self._sinks)

    async def close(self) -> None:
        """Close those that are open, the last opened first; a failure leaves none of them open."""
        failures: list[BaseException] = []
        while self._open:
            closer = getattr(self._open.pop(), "close", None)
            if closer is not None:
                try:
                    await closer()
                except BaseException as error:  # noqa: BLE001 -- raised below
                    failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            msg = "sinks could not be closed well"
            raise BaseExceptionGroup(msg, failures)


async def persist(sink: Sink, records: Sequence[Record]) -> None:
    """Persist records in one store. Raises `SinkError`, whatever the sink raises."""
    try:
        await sink.sink(records)
    except SinkError:
        raise
    except Exception as error:
        raise SinkError.of(sink, error, records) from error


def distinct(sinks: Iterable[Sink]) -> list[Sink]:
    """Return sinks, each once; they need not be hashable."""
    found: list[Sink] = []
    for each in sinks:
        if not any(other is each for other in found):
            found.append(each)
    return found


def check_sink(given: object) -> None:
    """Raise `TypeError` unless something is a sink, or maps message types to such."""
    wanted = "sink= has a method `async def sink(self, records)`, or maps message types to such"
    if isinstance(given, Mapping):
        for kind, each in cast("Mapping[object, object]", given).items():
            if not isinstance(kind, type) or not callable(getattr(each, "sink", None)):
                msg = f"{wanted}; {kind!r} to {each!r} does not"
                raise TypeError(msg)
    elif not callable(getattr(given, "sink", None)):
        msg = f"{wanted}, unlike {given!r}"
        raise TypeError(msg)
