from collections.abc import Callable
from typing import Any, Final, Self, final

from typing_extensions import disjoint_base

ARGUMENT_LIMIT: Final[int]

@disjoint_base
class Storage: ...

@disjoint_base
class Provider: ...

@final
class MessageArgument(Provider): ...

@final
class ContextArgument(Provider): ...

@final
class Constant(Provider):
    def __new__(cls, value: object) -> Constant: ...

@final
class Call:
    function: Callable[..., Any]
    providers: tuple[Provider, ...]
    def __new__(
        cls,
        function: Callable[..., Any],
        providers: tuple[Provider, ...],
        names: tuple[str, ...] = (),
    ) -> Call: ...

@disjoint_base
class Factory(Provider):
    def __new__(cls, call: Call) -> Self: ...

@final
class Scoped(Factory):
    def __new__(cls, call: Call) -> Scoped: ...

@final
class Singleton(Factory):
    def __new__(cls, call: Call) -> Singleton: ...
