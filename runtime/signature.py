"""Read a callable's signature. Every complaint about how a handler is written is raised here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from runtime._bus import MessageContext
from runtime._wiring import ARGUMENT_LIMIT
from runtime.errors import BusError, HandlerSignatureError

__all__ = (
    "MISSING",
    "HandlerSpec",
    "Parameter",
    "place",
    "read_class",
    "read_handler",
    "read_parameters",
)

MISSING: Final = inspect.Parameter.empty
"""Stands for an annotation or a default that is not there."""

Role = Literal["message", "context", "dependency"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a handler or a factory."""

    name: str
    annotation: object
    default: object
    keyword_only: bool
    role: Role = "dependency"


@dataclass(frozen=True, slots=True, eq=False)
class HandlerSpec:
    """A handler as it was written, with nothing resolved yet."""

    function: Callable[..., object]
    name: str
    location: str
    keys: tuple[type, ...]
    parameters: tuple[Parameter, ...]
    is_async: bool
    owner: type | None = None
    """The class that the function is a method of, and that has to be built to call it."""


def describe(target: object) -> tuple[str, str]:
    """Return the qualified name of a callable, and where it is written as ``file:line``."""
    plain: Any = getattr(target, "__func__", target)
    if callable(plain):
        plain = inspect.unwrap(plain)
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    name = f"{getattr(plain, '__module__', type(plain).__module__)}.{name}"
    if isinstance(plain, FunctionType):
        return name, f"{plain.__code__.co_filename}:{plain.__code__.co_firstlineno}"
    if isinstance(plain, type):
        try:
            return name, f"{inspect.getsourcefile(plain)}:{inspect.getsourcelines(plain)[1]}"
        except (OSError, TypeError):
            pass
    return name, "built in"


def place(target: object) -> str:
    """Say which callable an error is about, and where it is written."""
    name, location = describe(target)
    return f"{name} ({location})"


def read_parameters(
    target: Callable[..., object],
    complaint: type[BusError],
    *,
    skip_self: bool = False,
) -> tuple[Parameter, ...]:
    """Return the parameters of a callable, annotations evaluated.

    Raises `complaint` if an annotation does not evaluate or the parameters cannot be supplied
    one by one.
    """
    called = type.__getattribute__(target, "__init__") if isinstance(target, type) else target
    try:
        signature = inspect.signature(target)
        # What is written in C has a signature at best, and no annotations.
        annotated = hasattr(called, "__annotations__")
        hints = get_type_hints(called, include_extras=True) if annotated else {}
    except NameError as error:
        msg = (
            f"{place(target)}: an annotation does not evaluate: {error}; names in annotations "
            f"must be importable where the function is defined, not only under TYPE_CHECKING"
        )
        raise complaint(msg) from error
    except (TypeError, ValueError) as error:
        msg = f"{place(target)}: its signature cannot be read: {error}"
        raise complaint(msg) from error
    parameters = list(signature.parameters.values())[1 if skip_self else 0 :]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            msg = (
                f"{place(target)}: parameter `{parameter}` cannot be wired; "
                f"name each dependency as a parameter of its own"
            )
            raise complaint(msg)
    if len(parameters) >= ARGUMENT_LIMIT:
        most = ARGUMENT_LIMIT - 1
        msg = f"{place(target)}: takes {len(parameters)} parameters, more than {most}"
        raise complaint(msg)
    return tuple(
        Parameter(
            name=parameter.name,
            annotation=hints.get(parameter.name, MISSING),
            default=parameter.default,
            keyword_only=parameter.kind is parameter.KEYWORD_ONLY,
        )
        for parameter in parameters
    )


def read_handler(
    function: Callable[..., object], event_base: type, *, owner: type | None = None
) -> HandlerSpec:
    """Read a function, or a method of a class `owner`, as a handler.

    Raises `HandlerSignatureError` naming the handler, its file and line, and the parameter.
    """
    name, location = describe(function)
    where = f"{name} ({location})"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        msg = f"{where}: a handler cannot be a generator; emit the results as events instead"
        raise HandlerSignatureError(msg)
    parameters = read_parameters(function, HandlerSignatureError, skip_self=owner is not None)
    if not parameters or parameters[0].keyword_only:
        base = event_base.__name__
        msg = f"{where}: its first parameter must take the event, as in `event: {base}`"
        raise HandlerSignatureError(msg)
    first, *rest = parameters
    if first.annotation is MISSING:
        msg = (
            f"{where}: parameter `{first.name}` needs an annotation: "
            f"it says which events the handler hears, as in `{first.name}: {event_base.__name__}`"
        )
        raise HandlerSignatureError(msg)
    keys = tuple(dict.fromkeys(message_types(first.annotation)))
    for key in keys:
        if not isinstance(key, type) or not issubclass(key, event_base):
            msg = (
                f"{where}: parameter `{first.name}` is annotated {show(key)}, which is not a "
                f"subclass of {event_base.__name__}, the base of this registry"
            )
            raise HandlerSignatureError(msg)
    return HandlerSpec(
        function=function,
        name=name,
        location=location,
        keys=tuple(key for key in keys if isinstance(key, type)),
        parameters=(
            with_role(first, "message"),
            *(with_role(each, role_of(each, second=i == 0)) for i, each in enumerate(rest)),
        ),
        is_async=inspect.iscoroutinefunction(function),
        owner=owner,
    )


def read_class(owner: type, event_base: type) -> tuple[HandlerSpec, ...]:
    """Read every public method of a class whose first parameter takes an event.

    Methods come in the order in which the class and its bases define them, bases first.

    Raises `HandlerSignatureError` if there is none.
    """
    names = dict.fromkeys(
        name for base in reversed(owner.__mro__[:-1]) for name in vars(base) if name[0] != "_"
    )
    methods = [
        method
        for name in names
        if inspect.isfunction(method := inspect.getattr_static(owner, name))
        and hears(method, event_base)
    ]
    if not methods:
        msg = (
            f"{place(owner)}: no public method takes an event; the first parameter after "
            f"`self` must be annotated with a subclass of {event_base.__name__}"
        )
        raise HandlerSignatureError(msg)
    return tuple(read_handler(method, event_base, owner=owner) for method in methods)


def hears(method: Callable[..., object], event_base: type) -> bool:
    """Say whether a method's first parameter takes an event."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    if not parameters or parameters[0].annotation is MISSING:
        return False
    first = read_parameters(method, HandlerSignatureError, skip_self=True)[0]
    return any(
        isinstance(key, type) and issubclass(key, event_base)
        for key in message_types(first.annotation)
    )


def message_types(annotation: object) -> Iterator[object]:
    """Yield the classes that an annotation stands for."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from message_types(get_args(annotation)[0])
    elif origin is Union or origin is UnionType:
        for member in get_args(annotation):
            yield from message_types(member)
    elif origin is not None:
        yield origin
    else:
        yield annotation


def role_of(parameter: Parameter, *, second: bool) -> Role:
    """Say whether a parameter after the first takes the context or a dependency."""
    annotation = parameter.annotation
    if isinstance(annotation, type) and issubclass(annotation, MessageContext):
        return "context"
    if second and (annotation is MISSING or annotation is Any) and parameter.default is MISSING:
        return "context"
    return "dependency"


def with_role(parameter: Parameter, role: Role) -> Parameter:
    """Return the parameter in another role."""
    return Parameter(
        parameter.name, parameter.annotation, parameter.default, parameter.keyword_only, role
    )


def show(annotation: object) -> str:
    """Write an annotation as a person would."""
    if annotation is MISSING:
        return "nothing"
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__qualname__
    if isinstance(annotation, FunctionType):
        return describe(annotation)[0]
    return str(annotation).replace("typing.", "")
