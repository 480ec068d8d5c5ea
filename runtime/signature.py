"""Read a callable's signature. Every complaint about how a handler is written is raised here."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Coroutine, Iterator
from types import FunctionType, MethodType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from runtime._context import MessageContext
from runtime._wiring import ARGUMENT_LIMIT
from runtime.errors import BusError
from runtime.findings import Code, Finding, Place, failure
from runtime.policies import Retry

__all__ = (
    "MISSING",
    "GuardSpec",
    "HandlerOptions",
    "HandlerSpec",
    "Parameter",
    "describe",
    "fault",
    "identity",
    "place",
    "read_class",
    "read_guard",
    "read_handler",
    "read_parameters",
    "show",
    "written",
)

MISSING: Final = inspect.Parameter.empty
"""Stands for an annotation or a default that is not there."""

ANNOTATIONS: Final = "__annotations__"
SIGNATURE: Final = "bus-handler-signature"

Role = Literal["message", "context", "dependency"]
OwnerLifetime = Literal["singleton", "actor", "scoped", "transient"]
OnFailure = Literal["resume", "restart", "stop"]
Bases = tuple[type, ...]


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a handler or a factory."""

    name: str
    annotation: object
    default: object
    keyword_only: bool
    role: Role = "dependency"


class HandlerSpec(msgspec.Struct, frozen=True, eq=False):
    """A handler as it was written, with nothing resolved yet."""

    function: Callable[..., object]
    name: str
    location: str
    keys: tuple[type, ...]
    parameters: tuple[Parameter, ...]
    is_async: bool
    owner: type | None = None
    """The class that the function is a method of, and that has to be built to call it."""
    lifetime: OwnerLifetime = "scoped"
    """How long an instance of the owner lives."""
    in_thread: bool = False
    own_task: bool = False
    timeout: float | None = None
    """Seconds that a call of it may take."""
    retry: Retry | None = None
    on_failure: OnFailure = "resume"
    """What becomes of the actor when the handler, or the actor's start, fails."""

    @property
    def identity(self) -> tuple[object, object]:
        """What makes a handler the same as another: what is called, and on what."""
        return identity(self.function), self.owner


class GuardSpec(msgspec.Struct, frozen=True, eq=False):
    """A guard as it was written."""

    function: Callable[..., Coroutine[Any, Any, object]]
    name: str
    location: str
    keys: tuple[type, ...]
    context: type | None = None
    """The class of context that it asks for, if not just any."""


class HandlerOptions(msgspec.Struct, frozen=True):
    """What `register` was told about a handler."""

    lifetime: OwnerLifetime | None = None
    in_thread: bool = False
    own_task: bool = False
    timeout: float | None = None
    retry: Retry | None = None
    on_failure: OnFailure = "resume"


NO_OPTIONS: Final = HandlerOptions()


def describe(target: object) -> tuple[str, str]:
    """Return the qualified name of a callable, and where it is written as ``file:line``."""
    plain: Any = plain_function(target)
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


def plain_function(target: object) -> Any:
    """Return the function inside a bound method, a partial, a wrapper or a callable object."""
    plain: Any = target
    while isinstance(plain, functools.partial):
        plain = plain.func
    if callable(plain) and not isinstance(plain, (type, FunctionType, MethodType)):
        # An instance: what it does, and where that is written, stands in its class.
        plain = type(plain).__call__
    plain = getattr(plain, "__func__", plain)
    return inspect.unwrap(plain) if callable(plain) else plain


def bound_names(target: object) -> frozenset[str]:
    """Return the parameters that a partial has bound by name."""
    if isinstance(target, functools.partial):
        return frozenset(target.keywords)
    return frozenset()


def identity(target: Callable[..., object]) -> object:
    """Return what makes a callable the same as another.

    A callable object is itself only, whatever it compares equal to; it need not be hashable.
    """
    plain = isinstance(target, (type, FunctionType, MethodType))
    return target if plain else id(target)


def place(target: object) -> str:
    """Say which callable an error is about, and where it is written."""
    name, location = describe(target)
    return f"{name} ({location})"


def written(target: object, parameter: str | None = None) -> Place:
    """Return where a callable is written, or one of its parameters; ``return`` is its result."""
    plain: Any = plain_function(target)
    if isinstance(plain, type):
        start: object = type.__getattribute__(plain, "__init__") if parameter else None
        if isinstance(start, FunctionType) and not start.__code__.co_filename.startswith("<"):
            return written(start, parameter)
        # What is generated takes its parameters from the annotations of the class and its bases.
        fields = (base for base in plain.__mro__ if parameter in vars(base).get(ANNOTATIONS, ()))
        plain = next(fields, plain)
        module = sys.modules.get(plain.__module__)
        return Place(plain.__qualname__, getattr(module, "__file__", None), 0, parameter)
    if isinstance(plain, FunctionType):
        code = plain.__code__
        file = None if code.co_filename.startswith("<") else code.co_filename
        return Place(code.co_name, file, code.co_firstlineno, parameter)
    return Place(describe(target)[0], None, 0, parameter)


def fault(
    code: Code,
    target: object,
    what: str,
    advice: str = "",
    *,
    link: str = "; ",
    parameter: str | None = None,
) -> BusError:
    """Return the error for a callable that cannot be used as it is written."""
    name, location = describe(target)
    text = f"{name} ({location}): {what}{link if advice else ''}{advice}"
    return failure([Finding(code, name, text, what, advice, (), (written(target, parameter),))])


def read_parameters(
    target: Callable[..., object], code: Code, *, skip_self: bool = False
) -> tuple[Parameter, ...]:
    """Return the parameters of a callable, annotations evaluated.

    Raises the error for `code` if an annotation does not evaluate or the parameters cannot be
    supplied one by one.
    """
    called = (
        type.__getattribute__(target, "__init__")
        if isinstance(target, type)
        else plain_function(target)
    )
    try:
        signature = inspect.signature(target)
        # What is written in C has a signature at best, and no annotations.
        source = called if hasattr(called, "__annotations__") else target
        annotated = source is called or isinstance(target, type)
        hints = get_type_hints(source, include_extras=True) if annotated else {}
    except NameError as error:
        raise fault(
            code,
            target,
            f"an annotation does not evaluate: {error}",
            "names in annotations must be importable where the function is defined, not only "
            "under TYPE_CHECKING",
            parameter=mentioning(called, error.name),
        ) from error
    except (TypeError, ValueError) as error:
        raise fault(code, target, f"its signature cannot be read: {error}") from error
    bound = bound_names(target)
    parameters = [
        each
        for each in list(signature.parameters.values())[1 if skip_self else 0 :]
        # What a partial has bound is not to be supplied.
        if each.name not in bound
    ]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise fault(
                code,
                target,
                f"parameter `{parameter}` cannot be wired",
                "name each dependency as a parameter of its own",
                parameter=parameter.name,
            )
    if len(parameters) >= ARGUMENT_LIMIT:
        most = ARGUMENT_LIMIT - 1
        raise fault(code, target, f"takes {len(parameters)} parameters, more than {most}")
    return tuple(
        Parameter(
            name=parameter.name,
            annotation=hints.get(parameter.name, MISSING),
            default=parameter.default,
            keyword_only=parameter.kind is parameter.KEYWORD_ONLY,
        )
        for parameter in parameters
    )


def mentioning(function: Any, name: str | None) -> str | None:
    """Return the first parameter whose annotation, a string, mentions a name."""
    annotations: dict[str, object] = getattr(function, ANNOTATIONS, {})
    for parameter, annotation in annotations.items():
        if isinstance(annotation, str) and name in re.findall(r"\w+", annotation):
            return parameter
    return None


def read_handler(
    function: Callable[..., object],
    bases: Bases,
    options: HandlerOptions = NO_OPTIONS,
    *,
    owner: type | None = None,
) -> HandlerSpec:
    """Read a function, or a method of a class `owner`, as a handler of messages of these bases.

    Raises `HandlerSignatureError` naming the handler, its file and line, and the parameter.
    """
    name, location = describe(function)
    parameters = read_parameters(function, SIGNATURE, skip_self=owner is not None)
    keys = read_keys(function, parameters, bases)
    is_async = is_asynchronous(function)
    if options.in_thread and is_async:
        raise fault(
            SIGNATURE,
            function,
            "in_thread=True is for synchronous handlers",
            "an asynchronous one runs on the loop",
        )
    if options.timeout is not None and not is_async and not options.in_thread:
        raise fault(
            SIGNATURE,
            function,
            "timeout= is for asynchronous handlers; a synchronous one cannot be interrupted on the "
            "loop",
            "make it asynchronous, or register it with in_thread=True",
            link=": ",
        )
    return HandlerSpec(
        function=function,
        name=name,
        location=location,
        keys=keys,
        parameters=(
            with_role(parameters[0], "message"),
            *(with_role(p, role_of(p, second=i == 0)) for i, p in enumerate(parameters[1:])),
        ),
        is_async=is_async,
        owner=owner,
        lifetime=options.lifetime or "scoped",
        in_thread=options.in_thread,
        own_task=options.own_task,
        timeout=options.timeout,
        retry=options.retry,
        on_failure=options.on_failure,
    )


def read_guard(function: Callable[..., Any], bases: Bases) -> GuardSpec:
    """Read an asynchronous function of a message, its context and ``proceed`` as a guard.

    Raises `HandlerSignatureError` naming the guard, its file and line, and the parameter.
    """
    parameters = read_parameters(function, SIGNATURE)
    name, location = describe(function)
    if not is_asynchronous(function):
        what = "a guard must be an `async def`"
        raise fault(SIGNATURE, function, what, "it awaits `proceed()`")
    keys = read_keys(function, parameters, bases)
    required = [each for each in parameters if each.default is MISSING]
    if len(parameters) < 3 or len(required) > 3 or any(each.keyword_only for each in required):
        raise fault(
            SIGNATURE,
            function,
            f"a guard takes three parameters, as in "
            f"`async def {name.rpartition('.')[2]}(message, ctx, proceed)`, not {len(required)}",
        )
    context = parameters[1].annotation
    if isinstance(context, type) and issubclass(context, MessageContext):
        return GuardSpec(function, name, location, keys, context)
    return GuardSpec(function, name, location, keys)


def read_keys(
    function: Callable[..., object], parameters: tuple[Parameter, ...], bases: Bases
) -> tuple[type, ...]:
    """Return the classes that the first parameter is annotated with."""
    expected = bases[0].__name__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        what = "a handler cannot be a generator"
        raise fault(SIGNATURE, function, what, "emit the results as events instead")
    if not parameters or parameters[0].keyword_only:
        what = f"its first parameter must take the event, as in `event: {expected}`"
        raise fault(SIGNATURE, function, what)
    first = parameters[0]

    def misfit(what: str, advice: str = "", link: str = "; ") -> BusError:
        return fault(SIGNATURE, function, what, advice, link=link, parameter=first.name)

    if first.annotation is MISSING and first.name == "self":
        what = "it is a method without its object"
        raise misfit(what, "register a bound method, or the class", ": ")
    if first.annotation is MISSING:
        what = f"parameter `{first.name}` needs an annotation"
        advice = f"it says which events the handler hears, as in `{first.name}: {expected}`"
        raise misfit(what, advice, ": ")
    keys: dict[type, None] = {}
    for key in message_types(first.annotation):
        if key is type(None):
            annotated = show(first.annotation)
            what = f"parameter `{first.name}` is annotated {annotated}, but a message is never None"
            raise misfit(what)
        if not isinstance(key, type) or not issubclass(key, bases):
            what = (
                f"parameter `{first.name}` is annotated {show(key)}, which is not a subclass of "
                f"{expected}, the base of this registry"
            )
            raise misfit(what, "derive it, or declare the registry with another `event_base=`")
        keys[key] = None
    return tuple(keys)


def is_asynchronous(function: Callable[..., object]) -> bool:
    """Say whether calling a function, or a callable object, gives a coroutine."""
    return inspect.iscoroutinefunction(function) or (
        not isinstance(function, (type, FunctionType, MethodType, functools.partial))
        and inspect.iscoroutinefunction(type(function).__call__)
    )


def read_class(owner: type, bases: Bases, options: HandlerOptions) -> tuple[HandlerSpec, ...]:
    """Read every public method of a class whose first parameter takes a message.

    Methods come in the order in which the class and its bases define them, bases first.

    Raises `HandlerSignatureError` if there is none.
    """
    names = dict.fromkeys(
        name for base in reversed(owner.__mro__[:-1]) for name in vars(base) if name[0] != "_"
    )
    specs: list[HandlerSpec] = []
    for name in names:
        method = inspect.getattr_static(owner, name)
        if isinstance(method, (staticmethod, classmethod)):
            # Such a method needs no instance.
            function = getattr(owner, name)
            if hears(function, bases, skip_self=False):
                specs.append(read_handler(function, bases, options))
        elif inspect.isfunction(method) and hears(method, bases, skip_self=True):
            specs.append(read_handler(method, bases, options, owner=owner))
    if not specs:
        raise fault(
            SIGNATURE,
            owner,
            "no public method takes an event",
            f"the first parameter after `self` must be annotated with a subclass of "
            f"{bases[0].__name__}",
        )
    return tuple(specs)


def hears(method: Callable[..., object], bases: Bases, *, skip_self: bool) -> bool:
    """Say whether a method's first parameter takes a message."""
    parameters = list(inspect.signature(method).parameters.values())[skip_self:]
    if not parameters or parameters[0].annotation is MISSING:
        return False
    if parameters[0].kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        return False
    first = read_parameters(method, SIGNATURE, skip_self=skip_self)[0]
    return any(
        isinstance(key, type) and issubclass(key, bases) for key in message_types(first.annotation)
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
