import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from types import CoroutineType, GenericAlias, TracebackType
from typing import Any, Generic, Self, TypeVar, final, overload

from typing_extensions import TypeForm

from runtime._context import MessageContext
from runtime._core import Core
from runtime._mailbox import Delivery, Mailbox
from runtime._sender import Sender
from runtime._wiring import Storage
from runtime.messages import Command
from runtime.sinks.base import Record
from runtime.threads import ThreadBus

_R = TypeVar("_R")
_T = TypeVar("_T")
_E_contra = TypeVar("_E_contra", contravariant=True)

@final
class EventBus(Sender, Generic[_E_contra]):
    def __init__(self) -> None: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def publish(
        self, event: _E_contra, context: MessageContext | None = None
    ) -> Coroutine[Any, Any, None]: ...
    def send(
        self, command: Command[_R], context: MessageContext | None = None
    ) -> Coroutine[Any, Any, _R]: ...
    def emit(
        self,
        event: _E_contra,
        context: MessageContext | None = None,
        *,
        key: Hashable | None = None,
        delay: float | None = None,
        ttl: float | None = None,
        callback: Callable[[Delivery], object] | None = None,
    ) -> Delivery: ...
    def offer(
        self,
        event: _E_contra,
        context: MessageContext | None = None,
        *,
        key: Hashable | None = None,
        delay: float | None = None,
        ttl: float | None = None,
        callback: Callable[[Delivery], object] | None = None,
    ) -> Coroutine[Any, Any, Delivery]: ...
    def ask(
        self,
        command: Command[_R],
        context: MessageContext | None = None,
        *,
        key: Hashable | None = None,
        timeout: float = 5.0,
    ) -> Coroutine[Any, Any, _R]: ...
    @property
    def from_thread(self) -> ThreadBus[_E_contra]: ...
    @overload
    def sink(
        self, events: Sequence[_E_contra | Record], /, *, context: MessageContext | None = None
    ) -> Coroutine[Any, Any, None]: ...
    @overload
    def sink(
        self, *events: _E_contra | Record, context: MessageContext | None = None
    ) -> Coroutine[Any, Any, None]: ...
    def _prepare(
        self,
        event: object,
        context: MessageContext | None,
        key: object,
        ttl: float | None,
        callback: Callable[[Delivery], object] | None,
    ) -> tuple[Mailbox, Delivery]: ...
    def _post_reserved(self, box: Mailbox, message: Delivery) -> None: ...
    def _post_from_thread(
        self,
        event: object,
        context: MessageContext | None,
        key: object,
        callback: Callable[[Delivery], object] | None,
    ) -> Delivery | None: ...
    def _publish(
        self, event: object, context: MessageContext | None = None
    ) -> Coroutine[Any, Any, None]: ...
    def _send(
        self, command: Command[_R], context: MessageContext | None = None
    ) -> Coroutine[Any, Any, _R]: ...
    @property
    def _storage(self) -> Storage | None: ...
    @property
    def _is_caused(self) -> bool: ...
    def _admit(self, event: object) -> None: ...
    def _context(self, context: MessageContext | None) -> MessageContext: ...

@final
class Scope(Storage, Generic[_E_contra]):
    name: Hashable | None
    task: asyncio.Task[Any] | None
    def __init__(
        self, core: Core, name: Hashable | None = None, *, hold_emits: bool = False
    ) -> None: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @property
    def bus(self) -> EventBus[_E_contra]: ...
    # As checkers read `async def`, which is what AsyncExitStack asks for.
    def __aenter__(self) -> CoroutineType[Any, Any, Self]: ...
    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> CoroutineType[Any, Any, None]: ...
    @property
    def storage(self) -> Storage: ...
    def resolve(self, wanted: TypeForm[_T]) -> Coroutine[Any, Any, _T]: ...
    def hold(
        self, box: Mailbox, message: Delivery, delay: float | None, reserved: bool
    ) -> None: ...
    def _release(self) -> None: ...
    def _forget(self) -> None: ...
    def _end(self) -> None: ...

def root_bus(core: Core) -> EventBus[Any]: ...
