from collections.abc import Callable, Coroutine
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
        hands: int = 2,
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
        has_exits: bool = True,
        unrolled: Callable[[Any, Any], Coroutine[Any, Any, None]] | None = None,
        tally: TypeTally | None = None,
    ) -> Plan: ...
    def settle(self) -> None: ...

@final
class Table:
    plans: dict[type, Plan]
    def __new__(cls, plans: dict[type, Plan], flatten: Callable[[type], Plan]) -> Table: ...
