"""The wire form of a record: CloudEvents 1.0 as structured JSON, around the event's own JSON."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from runtime.errors import Undecodable
from runtime.sinks.base import Record

__all__ = ("CloudEvents",)

Attributes = dict[str, msgspec.Raw]

OWN: Final = {
    *("specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "subject"),
    *("partitionkey", "headers", "data", "data_base64"),
}
"""Names of attributes that a header cannot have."""
EXTENSION: Final = re.compile(r"[a-z0-9]{1,20}")
"""What CloudEvents allows as the name of an extension attribute."""
RENAMED: Final = {"causation_id": "causationid", "correlation_id": "correlationid"}
"""Headers that have a name among the documented extensions of CloudEvents."""
ORIGINAL: Final = {short: name for name, short in RENAMED.items()}
JSON: Final = re.compile(r"(application|text)/([\w.-]+\+)?json\s*(;.*)?", re.IGNORECASE)


class CloudEvents:
    """Write records as CloudEvents 1.0, and read them again.

    `source` says where events come from: a URI reference, such as ``/shop`` or
    ``https://shop.example``. `enc_hook` and `dec_hook` are msgspec's, for types that it does not
    know; an event has to come back equal.

    A header is an extension attribute, if its name can be one; `headers` is the JSON text of the
    others. The record's key is the `partitionkey`.

    Raises `ValueError` if `source` is no URI reference.
    """

    def __init__(
        self,
        source: str = "/runtime",
        *,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[type, Any], Any] | None = None,
    ) -> None:
        if not source or not source.isprintable() or " " in source:
            msg = f"source is a URI reference, such as '/shop', not {source!r}"
            raise ValueError(msg)
        self.source = source
        self._enc_hook = enc_hook
        self._dec_hook = dec_hook
        self._encoder = msgspec.json.Encoder(enc_hook=enc_hook)
        self._attributes = msgspec.json.Decoder(Attributes)
        self._decoders: dict[type, msgspec.json.Decoder[Any]] = {}

    def encode(self, record: Record) -> bytes:
        """Return a record as a JSON object in UTF-8.

        Raises `TypeError` or `ValueError` if the event has no JSON form that could be read again.
        """
        data = self._encoder.encode(record.event)
        if b"null" in data:
            self._check_numbers(record.event)
        if record.time.tzinfo is None:
            msg = f"the time of a record has a zone, which {record.time!r} has not"
            raise ValueError(msg)
        written: dict[str, object] = {
            "specversion": "1.0",
            "id": record.id,
            "source": self.source,
            "type": record.type,
            "time": record.time,
            "datacontenttype": "application/json",
        }
        if record.key is not None:
            written["partitionkey"] = record.key
        if record.headers:
            written |= as_attributes(record.headers)
        written["data"] = msgspec.Raw(data)
        return self._encoder.encode(written)

    def _check_numbers(self, event: object) -> None:
        """Raise `ValueError` if a null of an event's JSON stands for a number that JSON lacks."""
        plain = msgspec.to_builtins(event, str_keys=True, enc_hook=self._enc_hook)
        try:
            json.dumps(plain, allow_nan=False)
        except ValueError as error:
            msg = f"JSON has no infinity and no NaN, as in {event!r}"
            raise ValueError(msg) from error

    def decode(self, raw: bytes, find: Callable[[str], type]) -> Record:
        """Return the record that was written as `raw`; `find` says what class has a name.

        Fields that the class does not have are left out. Raises `Undecodable` with what was read.
        """
        try:
            return self._decode(raw, find)
        except Exception as error:
            # Whatever a hook raises, too.
            raise Undecodable.of(raw, error) from error

    def _decode(self, raw: bytes, find: Callable[[str], type]) -> Record:
        attributes = self._attributes.decode(raw)
        version = text(attributes, "specversion")
        if version != "1.0":
            msg = f"specversion is '1.0', not {version!r}"
            raise ValueError(msg)
        kind = text(attributes, "type")
        return Record(
            text(attributes, "id"),
            kind,
            time_of(attributes),
            text(attributes, "partitionkey") if "partitionkey" in attributes else None,
            as_headers(attributes),
            self._decoder(find(kind)).decode(data_of(attributes)),
        )

    def _decoder(self, kind: type) -> msgspec.json.Decoder[Any]:
        if kind not in self._decoders:
            self._decoders[kind] = msgspec.json.Decoder(kind, dec_hook=self._dec_hook)
        return self._decoders[kind]


def as_attributes(headers: Mapping[str, str]) -> dict[str, object]:
    """Return headers as extension attributes."""
    attributes: dict[str, object] = {}
    rest: dict[str, str] = {}
    for name, value in headers.items():
        short = RENAMED.get(name, name)
        if short in OWN or name in ORIGINAL or not EXTENSION.fullmatch(short):
            rest[name] = value
        else:
            attributes[short] = value
    if rest:
        attributes["headers"] = msgspec.json.encode(rest).decode()
    return attributes


def as_headers(attributes: Attributes) -> dict[str, str]:
    """Return the headers among attributes, those of other senders too."""
    headers: dict[str, str] = {}
    for name, raw in attributes.items():
        if name not in OWN:
            value = msgspec.json.decode(raw)
            # CloudEvents has truth values and numbers besides.
            if value is not None:
                shown = value if isinstance(value, str) else bytes(raw).decode()
                headers[ORIGINAL.get(name, name)] = shown
    if "headers" in attributes:
        rest = text(attributes, "headers")
        try:
            headers |= msgspec.json.decode(rest, type=dict[str, str])
        except msgspec.DecodeError:
            # Somebody else's extension of that name.
            headers["headers"] = rest
    return headers


def time_of(attributes: Attributes) -> datetime:
    """Return the time of an event, which is now if it has none."""
    if "time" not in attributes:
        return datetime.now(UTC)
    moment = msgspec.json.decode(attributes["time"], type=datetime)
    if moment.tzinfo is None:
        msg = f"the time of an event has a zone, which {moment} has not"
        raise ValueError(msg)
    return moment


def data_of(attributes: Attributes) -> bytes | msgspec.Raw:
    """Return the JSON of the event itself. Raises `ValueError` if it is something else."""
    if "datacontenttype" in attributes:
        content = text(attributes, "datacontenttype")
        if not JSON.fullmatch(content):
            msg = f"datacontenttype is JSON, not {content!r}"
            raise ValueError(msg)
    if "data_base64" in attributes:
        return base64.b64decode(text(attributes, "data_base64"), validate=True)
    if "data" not in attributes:
        msg = "there is no data"
        raise ValueError(msg)
    return attributes["data"]


def text(attributes: Attributes, name: str) -> str:
    """Return an attribute. Raises `ValueError` if it is missing, or not a text."""
    if name not in attributes:
        msg = f"there is no attribute {name!r}"
        raise ValueError(msg)
    value: str = msgspec.json.decode(attributes[name], type=str)
    return value
