"""How handlers are read, and what is said about those that cannot be."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Generic, TypeVar

import pytest

from runtime import Event, MessageContext, MessageRegistry
from runtime.errors import HandlerSignatureError
from runtime.signature import message_types, read_handler

T = TypeVar("T")


class Created(Event):
    pass


class Deleted(Event):
    pass


class Changed(Event, Generic[T]):
    pass


class Mailer:
    pass


class Stranger:
    pass


async def on_created(
    event: Created, ctx: MessageContext, mailer: Mailer, *, loud: bool = True
) -> None:
    pass


def roles(function: Callable[..., object]) -> list[tuple[str, str]]:
    return [(each.name, each.role) for each in read_handler(function, (Event,)).parameters]


def test_a_handler_is_read_with_its_place() -> None:
    """Name, place, key and roles come from the function itself."""
    spec = read_handler(on_created, (Event,))
    line = inspect.getsourcelines(on_created)[1]
    assert spec.name == f"{__name__}.on_created"
    assert spec.location == f"{__file__}:{line}"
    assert spec.keys == (Created,)
    assert spec.is_async
    assert [each.name for each in spec.parameters if each.keyword_only] == ["loud"]
    assert roles(on_created) == [
        ("event", "message"),
        ("ctx", "context"),
        ("mailer", "dependency"),
        ("loud", "dependency"),
    ]


def test_the_context_may_be_left_out_or_come_later() -> None:
    """The context is found by annotation; unannotated or Any counts in second place only."""

    def none(event: Created, mailer: Mailer) -> None: ...
    def later(event: Created, mailer: Mailer, ctx: MessageContext) -> None: ...
    def plain(event: Created, ctx) -> None: ...  # type: ignore[no-untyped-def]  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
    def anything(event: Created, ctx: Any) -> None: ...
    def third(event: Created, ctx: MessageContext, extra: Any) -> None: ...

    assert [role for _, role in roles(none)] == ["message", "dependency"]
    assert [role for _, role in roles(later)] == ["message", "dependency", "context"]
    assert [role for _, role in roles(plain)] == ["message", "context"]  # pyright: ignore[reportUnknownArgumentType]
    assert [role for _, role in roles(anything)] == ["message", "context"]
    assert [role for _, role in roles(third)] == ["message", "context", "dependency"]


@pytest.mark.parametrize(
    ("annotation", "types"),
    [
        (Created, [Created]),
        (Created | Deleted, [Created, Deleted]),
        (Annotated[Created, "note"], [Created]),
        (Annotated[Created | Deleted, "note"], [Created, Deleted]),
        (Changed[int], [Changed]),
        (Changed[int] | Created, [Changed, Created]),
    ],
)
def test_annotations_stand_for_classes(annotation: object, types: list[type]) -> None:
    """Unions, Annotated and generics are keyed on the classes in them."""
    assert list(message_types(annotation)) == types


def no_parameters() -> None: ...
def unannotated(event) -> None: ...  # type: ignore[no-untyped-def]  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
def keyword_only(*, event: Created) -> None: ...
def stranger(event: Stranger) -> None: ...
def half_stranger(event: Created | Stranger) -> None: ...
def starred(event: Created, *rest: int) -> None: ...
def double_starred(event: Created, **rest: int) -> None: ...
def unknown_name(event: Creatde) -> None: ...  # type: ignore[name-defined] # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]
async def generator(event: Created) -> AsyncIterator[int]:
    yield 1


WRONG: list[tuple[Callable[..., object], str]] = [
    (no_parameters, "its first parameter must take the event, as in `event: Event`"),
    (
        unannotated,
        (
            "parameter `event` needs an annotation: it says which events the handler hears, "
            "as in `event: Event`"
        ),
    ),
    (keyword_only, "its first parameter must take the event, as in `event: Event`"),
    (
        stranger,
        (
            "parameter `event` is annotated Stranger, which is not a subclass of Event, "
            "the base of this registry; derive it, or declare the registry with another "
            "`event_base=`"
        ),
    ),
    (
        half_stranger,
        (
            "parameter `event` is annotated Stranger, which is not a subclass of Event, "
            "the base of this registry; derive it, or declare the registry with another "
            "`event_base=`"
        ),
    ),
    (
        starred,
        "parameter `*rest: 'int'` cannot be wired; name each dependency as a parameter of its own",
    ),
    (
        double_starred,
        "parameter `**rest: 'int'` cannot be wired; name each dependency as a parameter of its own",
    ),
    (
        unknown_name,
        (
            "an annotation does not evaluate: name 'Creatde' is not defined; names in annotations "
            "must be importable where the function is defined, not only under TYPE_CHECKING"
        ),
    ),
    (generator, "a handler cannot be a generator; emit the results as events instead"),
]


@pytest.mark.parametrize(("function", "complaint"), WRONG, ids=lambda v: getattr(v, "__name__", ""))
def test_a_wrong_handler_is_told_what_to_do(
    function: Callable[..., object], complaint: str
) -> None:
    """Each mistake is one error with the handler's name, place, parameter and remedy."""
    line = inspect.getsourcelines(function)[1]
    registry = MessageRegistry(event_base=Event)
    with pytest.raises(HandlerSignatureError) as caught:
        registry.register(function)
    assert str(caught.value) == f"{__name__}.{function.__name__} ({__file__}:{line}): {complaint}"
    assert registry.handlers == ()


def test_too_many_parameters_are_refused_when_registered() -> None:
    """The limit of a compiled call is an error at registration, not at the first message."""
    code = f"def many(event: Created, {', '.join(f'p{n}: int = 0' for n in range(40))}): ..."
    scope: dict[str, Any] = {"Created": Created}
    exec(code, scope)
    with pytest.raises(HandlerSignatureError, match="takes 41 parameters, more than 31"):
        MessageRegistry(event_base=Event).register(scope["many"])
