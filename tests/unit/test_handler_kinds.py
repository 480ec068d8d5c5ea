"""Every kind of callable is a handler, through every verb."""

import asyncio
import functools
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import attrs
import pydantic
import pytest

from runtime import BusTerminal, Event, MessageContext, MessageRegistry
from runtime.errors import ContextMismatch, DeliveryFailed, HandlerSignatureError

T = TypeVar("T")
REQUEST: ContextVar[str] = ContextVar("request", default="none")
LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


class Ping(Event):
    number: int = 0


class Mailer:
    pass


async def function(event: Ping, ctx: MessageContext, mailer: Mailer) -> None:
    LOG.append(event)


def strings(event: "Ping", ctx: "MessageContext", mailer: "Mailer") -> None:
    LOG.append(event)


def annotated(event: Annotated[Ping, "note"]) -> None:
    LOG.append(event)


async def with_more(prefix: str, event: Ping, mailer: Mailer, *, suffix: str) -> None:
    assert (prefix, suffix) == ("<", ">")
    assert isinstance(mailer, Mailer)
    LOG.append(event)


class Methods:
    async def method(self, event: Ping, mailer: Mailer) -> None:
        LOG.append(event)

    @classmethod
    def of_class(cls, event: Ping) -> None:
        LOG.append(event)

    @staticmethod
    async def static(event: Ping) -> None:
        LOG.append(event)


class Callable_:
    async def __call__(self, event: Ping, mailer: Mailer) -> None:
        LOG.append(event)


class SyncCallable:
    def __call__(self, event: Ping) -> None:
        LOG.append(event)


def decorate(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return wrapper


KINDS = {
    "function": function,
    "string annotations": strings,
    "annotated": annotated,
    "partial": functools.partial(with_more, "<", suffix=">"),
    "bound method": Methods().method,
    "class method": Methods.of_class,
    "static method": Methods.static,
    "callable object": Callable_(),
    "synchronous callable object": SyncCallable(),
    "decorated": decorate(function),
    "class": Methods,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_handler_through_every_verb(kind: str) -> None:
    """What `register` takes, publish and emit run, wired."""
    registry = MessageRegistry(event_base=Event)
    registry.register(KINDS[kind])
    expected = 3 if kind == "class" else 1
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Ping(1))
        assert [Ping(1)] * expected == LOG
        await terminal.bus.emit(Ping(2)).wait()
        assert [Ping(1)] * expected + [Ping(2)] * expected == LOG


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "class"])
def test_every_kind_of_handler_has_a_name_and_a_place(kind: str) -> None:
    """An error about any of them says where it is written."""
    registry = MessageRegistry(event_base=Event)
    registry.register(KINDS[kind])
    (spec,) = registry.handlers
    assert spec.name.startswith(f"{__name__}.")
    assert spec.location.startswith(f"{__file__}:")


@dataclass(frozen=True)
class Data:
    number: int


class Plain:
    pass


@attrs.frozen
class WithAttrs:
    number: int


class Model(pydantic.BaseModel):
    number: int


class Changed(Event, Generic[T]):
    thing: T


@pytest.mark.parametrize(
    "message", [Data(1), Plain(), WithAttrs(1), Model(number=1), Changed(3), 42], ids=repr
)
async def test_any_class_is_a_message(message: object) -> None:
    """Dataclasses, attrs, pydantic, plain and generic classes, even numbers, are dispatched."""
    heard: list[object] = []
    registry = MessageRegistry(event_base=object)

    def on_data(event: Data | Plain | WithAttrs | Model) -> None:
        heard.append(event)

    def on_changed(event: Changed[int]) -> None:
        heard.append(event)

    def on_int(event: int) -> None:
        heard.append(event)

    registry.register(on_data, on_changed, on_int)
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(message)
        await terminal.bus.emit(message).wait()
    assert heard == [message, message]


async def test_in_thread_runs_elsewhere_with_the_callers_variables() -> None:
    """The loop goes on meanwhile; context variables are copied; results and errors come back."""
    release = threading.Event()

    def blocking(event: Ping, mailer: Mailer) -> None:
        assert isinstance(mailer, Mailer)
        release.wait(10)
        LOG.append((threading.current_thread() is threading.main_thread(), REQUEST.get()))
        REQUEST.set("leak")
        if event.number:
            msg = "in the thread"
            raise LookupError(msg)

    registry = MessageRegistry(event_base=Event)
    registry.register(blocking, in_thread=True)
    async with BusTerminal(registry) as terminal:
        REQUEST.set("mine")
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        delivery = terminal.bus.emit(Ping(1))
        await asyncio.sleep(0)
        assert LOG == []
        release.set()
        await task
        with pytest.raises(DeliveryFailed, match="in the thread"):
            await delivery.wait()
        assert REQUEST.get() == "mine"
    assert LOG == [(False, "mine")] * 2


def test_in_thread_is_for_synchronous_handlers() -> None:
    """An asynchronous handler cannot run in a thread."""
    with pytest.raises(HandlerSignatureError, match="in_thread=True is for synchronous handlers"):
        MessageRegistry(event_base=Event).register(function, in_thread=True)  # type: ignore[bus-handler-signature]


class Tenant(MessageContext):
    pass


async def test_a_context_of_the_wrong_class_is_a_mismatch() -> None:
    """A handler that asks for a context class of its own is not given another."""

    async def on_ping(event: Ping, ctx: Tenant) -> None:
        LOG.append(ctx)

    registry = MessageRegistry(event_base=Event)
    registry.register(on_ping)
    async with BusTerminal(registry) as terminal:
        with pytest.raises(ContextMismatch, match=r"on_ping .* asks for a Tenant, but the"):
            await terminal.bus.publish(Ping())
        with pytest.raises(DeliveryFailed, match="pass a Tenant with the message"):
            await terminal.bus.emit(Ping()).wait()
        context = Tenant()
        await terminal.bus.publish(Ping(), context)
    assert [context] == LOG
