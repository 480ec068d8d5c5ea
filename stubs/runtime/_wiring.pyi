from collections.abc import Callable
from typing import Any, Final, Self, final

from typing_extensions import disjoint_base

from runtime._context import MessageContext
from runtime._core import Core
from runtime._dispatch import Handler
from runtime._mailbox import Delivery, Mailbox

ARGUMENT_LIMIT: Final[int]

@disjoint_base
class Storage:
    core: Core
    box: Mailbox | None
    message: Delivery | None
    cause: MessageContext | None
    exits: list[tuple[Any, bool]] | None
    building: dict[Any, Any] | None
    closed: bool
    hops: int
    def add_exit(self, manager: Any, is_async: bool) -> None: ...
    def limited(self, deadline: float) -> Lens: ...

@final
class Lens(Storage):
    deadline: float

@final
class CallScope(Storage): ...

@disjoint_base
class Provider: ...

@final
class MessageArgument(Provider): ...

@final
class ContextArgument(Provider):
    wanted: type | None
    def __new__(cls, wanted: type | None = None) -> Self: ...

@final
class Constant(Provider):
    def __new__(cls, value: object) -> Constant: ...

@final
class Call:
    function: Callable[..., Any]
    providers: tuple[Provider, ...]
    @property
    def names(self) -> tuple[str, ...]: ...
    def uncount(self) -> None: ...
    def __call__(
        self, message: object, context: MessageContext | None, storage: Storage | None
    ) -> Any: ...
    def __new__(
        cls,
        function: Callable[..., Any],
        providers: tuple[Provider, ...],
        names: tuple[str, ...] = (),
    ) -> Call: ...

@disjoint_base
class Factory(Provider):
    call: Call
    mode: str
    waits: tuple[Factory, ...]
    def __new__(
        cls, call: Call, mode: str = "plain", waits: tuple[Factory, ...] = (), *args: Any
    ) -> Self: ...
    def home(self, storage: Storage) -> Storage: ...
    def start(self, storage: Storage) -> Any: ...
    def is_built(self, storage: Storage) -> bool: ...
    def keep(self, storage: Storage, value: object) -> None: ...

@final
class Transient(Factory):
    def is_built(self, storage: Storage) -> bool: ...
    def keep(self, storage: Storage, value: object) -> None: ...

@final
class Scoped(Factory):
    def is_built(self, storage: Storage) -> bool: ...
    def keep(self, storage: Storage, value: object) -> None: ...

@final
class Singleton(Factory):
    def __new__(cls, call: Call, mode: str, waits: tuple[Factory, ...], root: Storage) -> Self: ...
    def home(self, storage: Storage | None = None) -> Storage: ...
    def is_built(self, storage: Storage | None = None) -> bool: ...
    def keep(self, storage: Storage | None, value: object) -> None: ...

def make_storage(
    core: Core,
    box: Mailbox | None = None,
    *,
    owner: Handler | None = None,
    message: Delivery | None = None,
    cause: MessageContext | None = None,
    hops: int = 0,
    detached: bool = False,
) -> Storage: ...
