"""`bus-handler-signature`: what cannot be registered, next to what can."""

import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Generic, Literal, Optional, Protocol, TypeAlias, TypeVar

import shop
from shop import (
    Context,
    CountUsers,
    Mailer,
    OrderEvent,
    OrderPaid,
    UserCreated,
    UserEvent,
    UserRenamed,
    logged,
    named,
    users,
)

from runtime import Command, DeadLetter, Event, EventBus, MessageContext, MessageRegistry, Scope

T = TypeVar("T")
U = TypeVar("U", bound=UserEvent)

anything = MessageRegistry(event_base=object)
registry = MessageRegistry(event_base=UserEvent)


# --- No message parameter.


@registry.register
def nothing() -> None: ...  # E: bus-handler-signature: nothing


@registry.register
async def nothing_async() -> None: ...  # E: bus-handler-signature


@registry.register()
def nothing_with_options() -> None: ...  # E: bus-handler-signature


@registry.register(own_task=True)
async def keyword_only(*, event: UserCreated) -> None: ...  # E: bus-handler-signature


@registry.register
def keyword_only_dependency(event: UserCreated, *, mailer: Mailer) -> None: ...


@registry.register
def positional_only(event: UserCreated, /) -> None: ...


# --- Not a subtype of the base.


@registry.register
async def other_base(event: OrderPaid) -> None: ...  # E: bus-handler-signature: OrderPaid


@registry.register
async def above_the_base(event: Event) -> None: ...  # E: bus-handler-signature: Event


@registry.register
async def base(event: UserEvent) -> None: ...


@registry.register
async def derived(event: UserCreated) -> None: ...


@registry.register
async def several_lines(
    event: OrderPaid,  # E: bus-handler-signature: UserEvent
    ctx: MessageContext,
    mailer: Mailer,
) -> None: ...


@registry.register
async def union(event: UserCreated | UserRenamed) -> None: ...


@registry.register
async def half_a_union(event: UserCreated | OrderPaid) -> None: ...  # E: bus-handler-signature: OrderPaid


@registry.register
async def never_none(event: UserCreated | None) -> None: ...  # E: bus-handler-signature: None


@registry.register
async def optional(event: Optional[UserCreated]) -> None: ...  # E: bus-handler-signature


@registry.register
async def annotated(event: Annotated[UserCreated, "about it"]) -> None: ...


@registry.register
async def annotated_other(event: Annotated[OrderPaid, "about it"]) -> None: ...  # E: bus-handler-signature


@registry.register
async def a_string(event: "UserCreated") -> None: ...


@registry.register
async def a_string_of_another(event: "OrderPaid") -> None: ...  # E: bus-handler-signature


Alias: TypeAlias = UserCreated
OtherAlias: TypeAlias = OrderPaid
Either = UserCreated | UserRenamed
Mixed = UserCreated | OrderPaid


@registry.register
async def alias(event: Alias) -> None: ...


@registry.register
async def alias_of_another(event: OtherAlias) -> None: ...  # E: bus-handler-signature


@registry.register
async def alias_of_a_union(event: Either) -> None: ...


@registry.register
async def alias_of_a_mixed_union(event: Mixed) -> None: ...  # E: bus-handler-signature


@registry.register
async def qualified(event: shop.UserCreated) -> None: ...


@registry.register
async def qualified_other(event: shop.OrderPaid) -> None: ...  # E: bus-handler-signature


@registry.register
async def builtin(event: str) -> None: ...  # E: bus-handler-signature: str


@registry.register
async def everything(event: object) -> None: ...  # E: bus-handler-signature


@registry.register
async def a_class(event: type[UserCreated]) -> None: ...  # E: bus-handler-signature


@registry.register
async def a_list(events: list[UserCreated]) -> None: ...  # E: bus-handler-signature


@registry.register
async def a_literal(event: Literal["created"]) -> None: ...  # E: bus-handler-signature


@registry.register
async def generic(event: U) -> None: ...  # E: bus-handler-signature  # P: reportInvalidTypeVarUse


@registry.register
async def any_event(event: Any) -> None: ...  # E: bus-handler-signature


class HasName(Protocol):
    @property
    def name(self) -> str: ...


@registry.register
async def protocol(event: HasName) -> None: ...  # E: bus-handler-signature


class Audited:
    """A mixin: not an event by itself."""

    __slots__ = ()


class AuditedCreated(Audited, UserCreated):
    pass


@registry.register
async def mixed_in(event: AuditedCreated) -> None: ...


@registry.register
async def mixin(event: Audited) -> None: ...  # E: bus-handler-signature: Audited


class Changed(UserEvent, Generic[T]):
    value: T


class Moved(OrderEvent, Generic[T]):
    value: T


@registry.register
async def generic_event(event: Changed[int]) -> None: ...


@registry.register
async def other_generic_event(event: Moved[int]) -> None: ...  # E: bus-handler-signature


@anything.register
async def any_base(event: str) -> None: ...


@anything.register
async def any_base_object(event: object) -> None: ...


# --- Commands and dead letters have bases of their own.


class Rename(Command[None]):
    name: str


@registry.register
async def command(command: Rename) -> None: ...


@registry.register
async def dead(letter: DeadLetter) -> None: ...


@registry.register
async def dead_or_alive(message: DeadLetter | UserCreated) -> None: ...


@registry.register
async def command_or_other(message: CountUsers | OrderPaid) -> int:  # E: bus-handler-signature
    return 1


# --- Unannotated.


@registry.register  # P: reportUnknownArgumentType
def unannotated(event): ...  # E: bus-handler-signature: event  # mypy: no-untyped-def  # P: reportUnknownParameterType, reportMissingParameterType


@registry.register  # P: reportUnknownArgumentType
def partly(event, mailer: Mailer) -> None: ...  # E: bus-handler-signature: event  # mypy: no-untyped-def  # P: reportUnknownParameterType, reportMissingParameterType


@registry.register  # P: reportUnknownArgumentType
def unannotated_context(event: UserCreated, ctx) -> None: ...  # mypy: no-untyped-def  # P: reportUnknownParameterType, reportMissingParameterType


# --- *args and **kwargs.


@registry.register
def many(*events: UserCreated) -> None: ...  # E: bus-handler-signature: events


@registry.register
def rest(event: UserCreated, *rest: object) -> None: ...  # E: bus-handler-signature: rest


@registry.register
def options(event: UserCreated, **options: object) -> None: ...  # E: bus-handler-signature: options


@registry.register
def rest_on_its_line(
    event: UserCreated,
    *rest: object,  # E: bus-handler-signature: rest
) -> None: ...


# --- The context.


@registry.register
def context(event: UserCreated, ctx: MessageContext) -> None: ...


@registry.register
def own_context(event: UserCreated, ctx: Context) -> None: ...


@registry.register
def any_context(event: UserCreated, ctx: Any) -> None: ...


@registry.register
def context_last(event: UserCreated, mailer: Mailer, ctx: MessageContext) -> None: ...


@registry.register
def no_context(event: UserCreated, mailer: Mailer) -> None: ...


@registry.register
def context_by_keyword(event: UserCreated, *, ctx: MessageContext) -> None: ...


@registry.register
def context_in_a_string(event: UserCreated, ctx: "MessageContext") -> None: ...


@registry.register
def perhaps_a_context(event: UserCreated, ctx: MessageContext | None) -> None: ...  # E: bus-handler-signature: MessageContext


@registry.register
def perhaps_a_context_with_a_default(event: UserCreated, ctx: MessageContext | None = None) -> None: ...


@registry.register
def context_class(event: UserCreated, ctx: type[MessageContext]) -> None: ...  # E: bus-handler-signature: MessageContext


@registry.register
def annotated_context(event: UserCreated, ctx: Annotated[MessageContext, "mine"]) -> None: ...  # E: bus-handler-signature: MessageContext


@registry.register
def perhaps_own_context(
    event: UserCreated,
    mailer: Mailer,
    ctx: Context | None,  # E: bus-handler-signature: Context
) -> None: ...


# --- Generators.


@registry.register
def generator(event: UserCreated) -> Iterator[str]:  # E: bus-handler-signature: generator
    yield event.name


@registry.register
async def async_generator(event: UserCreated) -> AsyncIterator[str]:  # E: bus-handler-signature: generator
    yield event.name


# --- Calls instead of decorators.


async def first(event: UserCreated) -> None: ...
async def second(event: UserRenamed) -> None: ...
async def third(event: OrderPaid) -> None: ...  # E: bus-handler-signature: third
async def fourth() -> None: ...  # E: bus-handler-signature: fourth
async def fifth(event: OrderPaid) -> None: ...  # E: bus-handler-signature: fifth
async def sixth(event: OrderPaid) -> None: ...  # E: bus-handler-signature: sixth
async def never_registered(event: OrderPaid) -> None: ...


registry.register(first)
registry.register(first, second)
registry.register(third)
registry.register(first, second, fourth)
registry.register(first, fifth, own_task=True)
registry.register()(sixth)
same_handler = first
registry.register(same_handler)
shop.orders.register(never_registered)


# --- Defined elsewhere: the line of the registration.

registry.register(shop.on_created)
registry.register(shop.on_paid)  # E: bus-handler-signature: on_paid
registry.register(shop.on_created, shop.on_paid, first)  # E: bus-handler-signature: on_paid
registry.register(shop.Account)
registry.register(shop.Account().created)
registry.register(shop.Account().paid)  # E: bus-handler-signature: paid
registry.register(print)  # E: bus-handler-signature
users.register(first)


# --- Lambdas have no annotations.

registry.register(lambda event: None)  # E: bus-handler-signature  # P: reportUnknownArgumentType, reportUnknownLambdaType
registry.register(lambda: None)  # E: bus-handler-signature
registry.register(
    first,
    lambda event: None,  # E: bus-handler-signature  # P: reportUnknownArgumentType, reportUnknownLambdaType
)


# --- Partials.


def with_number(number: int, event: UserCreated) -> None: ...
def with_number_of_another(number: int, event: OrderPaid) -> None: ...  # E: bus-handler-signature: OrderPaid
def number_after(event: UserCreated, number: int) -> None: ...
def number_of_nothing(number: int) -> None: ...  # E: bus-handler-signature
def text_or_event(event: OrderPaid, changed: UserCreated) -> None: ...


registry.register(functools.partial(with_number, 1))
registry.register(functools.partial(with_number_of_another, 1))
registry.register(functools.partial(number_after, number=1))
registry.register(functools.partial(functools.partial(number_after), number=1))
registry.register(functools.partial(number_of_nothing, number=1))
registry.register(functools.partial(text_or_event, OrderPaid(1, 2.0)))
registry.register(functools.partial(shop.on_paid))  # E: bus-handler-signature: on_paid
registry.register(functools.partial(shop.on_created, mailer=Mailer()))


# --- Decorators.


@registry.register
@logged
def logged_handler(event: UserCreated) -> None: ...


@registry.register
@logged
def logged_other(event: OrderPaid) -> None: ...  # E: bus-handler-signature


@logged
@registry.register
def logged_outside(event: OrderPaid) -> None: ...  # E: bus-handler-signature


@registry.register(own_task=True)
@named("one")
@logged
async def named_handler(event: UserCreated) -> None: ...


@registry.register(own_task=True)
@named("one")
@logged
async def named_other(event: OrderPaid) -> None: ...  # E: bus-handler-signature


@users.register
@registry.register
async def on_two(event: UserCreated) -> None: ...


@shop.orders.register
@registry.register
async def on_two_bases(event: OrderPaid) -> None: ...  # E: bus-handler-signature: UserEvent


@registry.register
@shop.untyped
def unknown(event: UserCreated) -> None: ...


Handler = TypeVar("Handler", bound=Callable[..., Any])


def marked(function: Handler) -> Handler:
    return function


@registry.register
@marked
def marked_other(event: OrderPaid) -> None: ...  # E: bus-handler-signature


# --- Classes: every public method that takes a message.


@registry.register
class Right:
    def __init__(self, mailer: Mailer) -> None:
        self.mailer = mailer

    async def created(self, event: UserCreated) -> None: ...

    def renamed(self, event: UserRenamed, ctx: MessageContext) -> None: ...

    def helper(self, text: str) -> str:
        return text

    def another_helper(self, *texts: str) -> None: ...

    def not_of_this_registry(self, event: OrderPaid) -> None: ...

    def _private(self, event: UserCreated, *more: int) -> None: ...

    @property
    def name(self) -> str:
        return "right"

    def lines(self) -> Iterator[str]:
        yield self.name


@registry.register
class Nothing:  # E: bus-handler-signature: Nothing
    def helper(self, text: str) -> None: ...


@registry.register(lifetime="actor")
class OnlyOthers:  # E: bus-handler-signature: OnlyOthers
    def paid(self, event: OrderPaid) -> None: ...


@registry.register
class OnlyPrivate:  # E: bus-handler-signature: OnlyPrivate
    def _created(self, event: UserCreated) -> None: ...


@registry.register
class OnlyUnannotated:  # E: bus-handler-signature: OnlyUnannotated
    def created(self, event): ...  # mypy: no-untyped-def  # P: reportUnknownParameterType, reportMissingParameterType


@registry.register
class Several:
    async def created(self, event: UserCreated, *more: int) -> None: ...  # E: bus-handler-signature: more

    async def renamed(self, event: UserRenamed) -> AsyncIterator[str]:  # E: bus-handler-signature: generator
        yield event.name

    async def either(
        self,
        event: UserCreated | OrderPaid,  # E: bus-handler-signature: OrderPaid
    ) -> None: ...

    async def right(self, event: UserCreated) -> None: ...


@registry.register(lifetime="singleton")
class Static:
    @staticmethod
    def created(event: UserCreated) -> None: ...

    @classmethod
    def renamed(cls, event: UserRenamed) -> None: ...


@registry.register
class StaticOthers:  # E: bus-handler-signature: StaticOthers
    @staticmethod
    def created(event: OrderPaid) -> None: ...


class Base:
    async def created(self, event: UserCreated) -> None: ...


class BaseOfOthers:
    async def paid(self, event: OrderPaid) -> None: ...


@registry.register
class Inherits(Base):
    pass


@registry.register
class InheritsBoth(BaseOfOthers, Base):
    pass


@registry.register
class InheritsOthers(BaseOfOthers):  # E: bus-handler-signature: InheritsOthers
    pass


@registry.register
class InheritsFromElsewhere(shop.Account):
    pass


class Given:
    async def created(self, event: UserCreated) -> None: ...


class GivenOther:  # E: bus-handler-signature: GivenOther
    async def paid(self, event: OrderPaid) -> None: ...


registry.register(Given)
registry.register(Given, lifetime="actor", on_failure="restart")
registry.register(first, Given)
registry.register(first, second, GivenOther)


class GenericHandler(Generic[U]):  # E: bus-handler-signature: GenericHandler
    def on(self, event: U) -> None: ...


class CreatedHandler(GenericHandler[UserCreated]):  # raises: HandlerSignatureError
    pass


registry.register(GenericHandler)
registry.register(CreatedHandler)


# --- Methods and callable objects.


class Service:
    def __init__(self, mailer: Mailer) -> None:
        self.mailer = mailer

    async def created(self, event: UserCreated) -> None: ...

    async def paid(self, event: OrderPaid) -> None: ...  # E: bus-handler-signature

    async def unbound(self, event: UserCreated) -> None: ...  # E: bus-handler-signature: unbound

    @staticmethod
    async def static(event: UserCreated) -> None: ...

    @classmethod
    async def of_the_class(cls, event: UserCreated) -> None: ...

    def start(self, registry: MessageRegistry[UserEvent]) -> None:
        registry.register(self.created)


service = Service(Mailer())
registry.register(service.created)
registry.register(service.paid)
registry.register(Service.unbound)
registry.register(Service.static)
registry.register(Service.of_the_class)


class Callback:
    def __call__(self, event: UserCreated) -> None: ...


class CallbackOfOthers:
    def __call__(self, event: OrderPaid) -> None: ...  # E: bus-handler-signature: OrderPaid


registry.register(Callback())
registry.register(CallbackOfOthers())
registry.register(first, Callback(), second)


# --- Registries in other places.


class Shop:
    registry = MessageRegistry(event_base=UserEvent)

    def __init__(self) -> None:
        self.own = MessageRegistry(event_base=OrderEvent)
        self.own.register(self.on_paid)
        self.own.register(self.on_created)

    async def on_paid(self, event: OrderPaid) -> None: ...

    async def on_created(self, event: UserCreated) -> None: ...  # E: bus-handler-signature: OrderEvent  # raises: nothing


@Shop.registry.register
async def of_a_class(event: UserCreated) -> None: ...


@Shop.registry.register
async def of_a_class_other(event: OrderPaid) -> None: ...  # E: bus-handler-signature


def wire(registry: MessageRegistry[UserEvent]) -> None:
    @registry.register
    async def inner(event: UserCreated) -> None: ...

    registry.register(inner, first)


def wire_wrong(registry: MessageRegistry[UserEvent]) -> None:
    @registry.register
    async def inner(event: OrderPaid) -> None: ...  # E: bus-handler-signature


def wire_union(registry: MessageRegistry[UserEvent | OrderEvent]) -> None:
    registry.register(first, shop.on_paid)


def wire_unknown(registry: MessageRegistry[Any]) -> None:
    registry.register(first)
    registry.register(shop.on_paid)


def wire_any_of(registry: MessageRegistry[T]) -> None:
    registry.register(first)


def wire_wider(registry: MessageRegistry[Event]) -> None:
    registry.register(first, shop.on_paid)


def make_registry() -> MessageRegistry[UserEvent]:
    made = MessageRegistry(event_base=UserEvent)
    made.register(first)
    return made


@make_registry().register
async def of_a_call(event: UserCreated) -> None: ...


make_registry().register(shop.on_paid)  # E: bus-handler-signature

plain = MessageRegistry()


@plain.register
async def of_the_default_base(event: OrderPaid) -> None: ...


@plain.register
async def not_of_the_default_base(event: str) -> None: ...  # E: bus-handler-signature: Event


class OwnRegistry(MessageRegistry[UserEvent]):
    pass


own = OwnRegistry(event_base=UserEvent)


@own.register
async def of_own_registry(event: UserCreated) -> None: ...


@own.register
async def of_own_registry_other(event: OrderPaid) -> None: ...  # E: bus-handler-signature


# --- Conditional definitions.

if sys.version_info >= (3, 11):

    async def conditional(event: UserCreated) -> None: ...

else:

    async def conditional(event: UserCreated) -> None: ...


registry.register(conditional)

if sys.version_info < (3, 8):

    @registry.register
    async def of_old_times(event: OrderPaid) -> None: ...


# --- Something else that has a method of this name.


class Other:
    def register(self, function: Callable[..., object]) -> None: ...


Other().register(lambda: None)
Other().register(shop.on_paid)


# --- The bus and the scope are no dependencies of anybody.


@registry.register
async def given(event: UserCreated, bus: EventBus[UserEvent], scope: Scope[UserEvent]) -> None: ...
