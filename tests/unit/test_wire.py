"""The wire form: what is written comes back equal, and others can read it."""

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import uuid
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
import pydantic
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from runtime import Event, MessageContext, Record
from runtime.errors import Undecodable
from runtime.names import TypeNames, Unheard, type_name
from runtime.wire import CloudEvents

NOON = dt.datetime(2026, 1, 2, 12, 0, 0, 345678, tzinfo=dt.UTC)
T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"


class Ordered(Event):
    __key__: ClassVar[str] = "order_id"
    order_id: int | None
    note: str = ""


class Rich(Event):
    """An event of everything that msgspec writes."""

    text: str = ""
    number: float = 0.0
    whole: int = 0
    maybe: bool | None = None
    blob: bytes = b""
    moment: dt.datetime = NOON
    price: decimal.Decimal = decimal.Decimal("1.10")
    id: uuid.UUID = uuid.UUID(int=7)
    color: Color = Color.RED
    tags: frozenset[str] = frozenset()
    by_number: dict[int, str] = msgspec.field(default_factory=dict[int, str])
    orders: tuple[Ordered, ...] = ()


class Renamed(Event):
    __type_name__: ClassVar[str] = "shop.renamed"


class Heir(Renamed):
    """Inherits no name."""


class Changed(Event, Generic[T]):
    before: T


@dataclasses.dataclass(frozen=True, slots=True)
class Plain:
    number: int


class Model(pydantic.BaseModel):
    number: int


class Sold(Event):
    pieces: Annotated[int, msgspec.Meta(gt=0)]


NAMES = TypeNames([Ordered, Rich, Renamed, Changed, Sold, Plain, Model])


def record(event: object, key: str | None = None, **headers: str) -> Record:
    return Record("1", type_name(type(event)), NOON, key, headers, event)


def back(written: bytes | dict[str, Any], wire: CloudEvents | None = None) -> Record:
    raw = json.dumps(written).encode() if isinstance(written, dict) else written
    return (wire or CloudEvents()).decode(raw, NAMES.find)


def envelope(**changes: Any) -> dict[str, Any]:
    given = {
        "specversion": "1.0",
        "id": "a",
        "source": "/elsewhere",
        "type": "Ordered",
        "data": {"order_id": 1},
        **changes,
    }
    return {name: value for name, value in given.items() if value is not ...}


def test_a_record_is_a_cloud_event() -> None:
    """The attributes are those of CloudEvents 1.0; the event is JSON inside of it."""
    context = MessageContext(headers={"tenant": "north"})
    made = Record.of(Ordered(42, "two"), context)
    assert json.loads(CloudEvents("/shop").encode(made)) == {
        "specversion": "1.0",
        "id": context.id,
        "source": "/shop",
        "type": "Ordered",
        "time": context.time.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "partitionkey": "42",
        "tenant": "north",
        "data": {"order_id": 42, "note": "two"},
    }


headers = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=25)
    | st.sampled_from(
        [
            "causation_id",
            "correlation_id",
            "causationid",
            "headers",
            "data",
            "subject",
            "traceparent",
        ]
    ),
    st.text(st.characters(codec="utf-8")),
)
events = st.builds(
    Rich,
    text=st.text(st.characters(codec="utf-8")),
    number=st.floats(allow_nan=False, allow_infinity=False),
    whole=st.integers(),
    maybe=st.sampled_from([None, True, False]),
    blob=st.binary(),
    moment=st.datetimes(timezones=st.just(dt.UTC)),
    price=st.decimals(allow_nan=False, allow_infinity=False),
    id=st.uuids(),
    tags=st.frozensets(st.text(st.characters(codec="utf-8"))),
    by_number=st.dictionaries(st.integers(-(2**63), 2**64 - 1), st.just("x")),
    orders=st.tuples(st.builds(Ordered, st.none() | st.integers(0, 9))),
)


@given(events, headers, st.none() | st.text(st.characters(codec="utf-8"), min_size=1))
def test_what_is_written_comes_back_equal(
    event: Rich, given: dict[str, str], key: str | None
) -> None:
    """Any record is read as it was: event, id, time, key and headers."""
    made = changed(record(event, key), headers=given)
    assert back(CloudEvents().encode(made)) == made


def changed(made: Record, **changes: Any) -> Record:
    return msgspec.structs.replace(made, **changes)


@given(events, headers, st.none() | st.text(st.characters(codec="utf-8"), min_size=1))
def test_the_official_sdk_reads_it(event: Rich, given: dict[str, str], key: str | None) -> None:
    """The SDK of CloudEvents takes what is written as valid, and finds everything in it."""
    made = changed(record(event, key), headers=given)
    raw = CloudEvents("/shop").encode(made)
    read = JSONFormat().read(CloudEvent, raw)
    assert (read.get_id(), read.get_source(), read.get_type()) == ("1", "/shop", "Rich")
    assert (read.get_specversion(), read.get_time()) == ("1.0", NOON)
    assert read.get_datacontenttype() == "application/json"
    assert read.get_extension("partitionkey") == key
    assert read.get_data() == json.loads(raw)["data"]
    # And what it writes is read here.
    assert back(JSONFormat().write(read)) == made


@pytest.mark.parametrize("event", [Plain(3), Renamed(), Heir()])
def test_events_of_any_class_msgspec_knows(event: object) -> None:
    """Dataclasses are events too, and a type's own name is found."""
    assert back(CloudEvents().encode(record(event))).event == event


def validate(kind: type, plain: object) -> object:
    """Read a model of pydantic's."""
    assert issubclass(kind, BaseModel)
    return kind.model_validate(plain)


def test_hooks_take_what_msgspec_does_not_know() -> None:
    """Pydantic's models, for example, with four lines."""
    wire = CloudEvents(
        enc_hook=lambda model: model.model_dump(mode="json"),
        dec_hook=validate,
    )
    with pytest.raises(TypeError, match="Model"):
        CloudEvents().encode(record(Model(number=3)))
    assert back(wire.encode(record(Model(number=3))), wire).event == Model(number=3)


def test_a_generic_event_keeps_what_json_can_tell() -> None:
    """What a type variable stands for is not written."""
    assert back(CloudEvents().encode(record(Changed[int](3)))).event == Changed(3)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_json_cannot_say_is_refused(number: float) -> None:
    """JSON has no infinity: it would come back as something else."""
    with pytest.raises(ValueError, match="JSON has no infinity and no NaN, as in Rich"):
        CloudEvents().encode(record(Rich(number=number)))


def test_a_time_without_a_zone_is_refused() -> None:
    """CloudEvents has points in time only."""
    naive = changed(record(Ordered(1)), time=NOON.replace(tzinfo=None))
    with pytest.raises(ValueError, match="the time of a record has a zone"):
        CloudEvents().encode(naive)


@pytest.mark.parametrize("source", ["", "two words", "line\n"])
def test_a_source_is_a_reference(source: str) -> None:
    """The source is checked when it is given."""
    with pytest.raises(ValueError, match="source is a URI reference"):
        CloudEvents(source)


def test_unknown_fields_are_ignored() -> None:
    """A field that has come later, and attributes of others, change nothing."""
    read = back(envelope(data={"order_id": 1, "later": [1]}, subject="x", dataschema="/y"))
    assert read.event == Ordered(1)
    assert read.headers == {}
    assert read.time.tzinfo is not None


def test_what_others_write_is_read() -> None:
    """Base64, extensions that are no text, and an attribute `headers` of another kind."""
    read = back(
        envelope(
            data=..., data_base64="eyJvcmRlcl9pZCI6N30=", sampled=True, rate=12, headers="no JSON"
        )
    )
    assert read.event == Ordered(7)
    assert read.headers == {"sampled": "true", "rate": "12", "headers": "no JSON"}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff\xfe", "cannot be decoded"),
        (b"[]", "Expected `object`"),
        (envelope(id=...), "there is no attribute 'id'"),
        (envelope(specversion="0.3"), "specversion is '1.0', not '0.3'"),
        (envelope(type=7), "Expected `str`"),
        (envelope(data=...), "there is no data"),
        (
            envelope(data={"order_id": "one"}),
            r"got `str` - at `\$.order_id`",
        ),
        (envelope(data={}), "missing required field `order_id`"),
        (envelope(type="Nobody"), "no class is called 'Nobody' here: import the module"),
        (envelope(datacontenttype="text/xml"), "datacontenttype is JSON, not 'text/xml'"),
        (envelope(data=..., data_base64="?"), "cannot be decoded"),
        (envelope(time="yesterday"), "Invalid RFC3339"),
        (envelope(time="2026-01-02T12:00:00"), "the time of an event has a zone"),
    ],
)
def test_what_cannot_be_read_is_kept(raw: bytes | dict[str, Any], text: str) -> None:
    """The error says why, and has what was read."""
    raw = json.dumps(raw).encode() if isinstance(raw, dict) else raw
    with pytest.raises(Undecodable, match=text) as caught:
        back(raw)
    assert caught.value.raw == raw


def test_a_name_of_two_classes_is_refused() -> None:
    """The error names both, and says what to do."""
    first = type("Twin", (Event,), {"__module__": "one"})
    second = type("Twin", (Event,), {"__module__": "two"})
    text = r"'Twin' is the name of one.Twin and of two.Twin: give one of them a name of its own"
    with pytest.raises(LookupError, match=text):
        TypeNames([first, second]).find("Twin")
    # What is heard comes first.
    assert TypeNames([first], [second]).find("Twin") is first
    assert TypeNames([], [second]).find("Twin") is second
    # What nobody hears may have any class, unless somebody hears all.
    assert TypeNames([], [first, second]).find("Twin") is Unheard
    with pytest.raises(LookupError, match=text):
        TypeNames([object], [first, second]).find("Twin")


def test_a_class_that_is_defined_later_is_found() -> None:
    """Names are looked up when they are needed."""

    class Base(Event):
        pass

    names = TypeNames([Base])
    with pytest.raises(LookupError, match="no class is called 'Late' here"):
        names.find("Late")

    class Late(Base):
        pass

    assert names.find("Late") is Late


@pytest.mark.parametrize("name", ["", 7])
def test_a_type_name_is_a_text(name: Any) -> None:
    """A mistake is found when a record is made."""
    kind = type("Wrong", (), {"__type_name__": name})
    with pytest.raises(TypeError, match=r"Wrong.__type_name__ is the name of the type as a str"):
        Record.of(kind())


def test_names_have_no_module() -> None:
    """A class may move to another module; its own name, if it has one, is for itself."""
    assert [type_name(each) for each in (Ordered, Renamed, Heir, Changed)] == [
        "Ordered",
        "shop.renamed",
        "Heir",
        "Changed",
    ]


def test_constraints_hold_when_an_event_is_read() -> None:
    """What is annotated is checked, as msgspec does."""
    with pytest.raises(Undecodable, match="Expected `int` >= 1"):
        back(envelope(type="Sold", data={"pieces": 0}))
