from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, final

from runtime._tally import HandlerTally, TypeTally
from runtime._wiring import Call, Factory
from runtime.policies import Overflow
from runtime.publishers import Publisher
from runtime.signature import GuardSpec, HandlerSpec

@final
class Handler:
    spec: HandlerSpec
    call: Call
    tally: HandlerTally
    actor: Factory | None
    is_async: bool
    needs_scope: bool
    manages: bool
    own_task: bool
    limited: bool
    supervised: bool
    waits: tuple[Factory, ...]
    def __new__(
        cls,
        spec: HandlerSpec,
        call: Call,
        *,
        is_async: bool,
        needs_scope: bool,
        wants_context: bool,
        actor: Factory | None = None,
        waits: tuple[Factory, ...] = (),
        manages: bool = False,
        own_task: bool = False,
        limited: bool = False,
        supervised: bool = False,
        tally: HandlerTally | None = None,
    ) -> Handler: ...
    def settle(self) -> bool: ...

@final
class Plan:
    handlers: tuple[Handler, ...]
    guards: tuple[GuardSpec, ...]
    publisher: Publisher | None
    key_field: str | None
    key_owner: type | None
    def __new__(
        cls,
        handlers: tuple[Handler, ...],
        *,
        guards: tuple[GuardSpec, ...] = (),
        publisher: Publisher | None = None,
        key_field: str | None = None,
        key_owner: type | None = None,
        capacity: int = 0,
        overflow: Overflow = "reject",
        tally: TypeTally | None = None,
    ) -> Plan: ...
    def settle(self) -> None: ...

@final
class Table:
    plans: dict[type, Plan]
    def __new__(cls, plans: dict[type, Plan], flatten: Callable[[type], Plan]) -> Table: ...

@final
class Publication(Coroutine[Any, Any, None]):
    def __init__(self) -> None: ...
    def __await__(self) -> Generator[Any, Any]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any: ...
    def close(self) -> None: ...
