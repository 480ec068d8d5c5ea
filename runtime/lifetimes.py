"""Providers to a validated dependency graph to compiled calls.

Everything is checked before the first message: what nothing provides, what needs itself, what
would outlive its own dependency. All findings are raised at once, each with its path.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeGuard, get_args, get_origin, get_type_hints

from runtime._bus import BusProvider, EventBus
from runtime._mailbox import ActorProvider, Core
from runtime._wiring import (
    Call,
    Constant,
    ContextArgument,
    MessageArgument,
    Provider,
    Scoped,
    Singleton,
)
from runtime.errors import BusError, LifetimeError, ProviderError
from runtime.signature import MISSING, HandlerSpec, Parameter, place, read_parameters, show

__all__ = ("FactoryLifetime", "FactorySpec", "WiredHandler", "Wiring", "read_factory", "use")

Lifetime = Literal["singleton", "actor", "scoped"]
FactoryLifetime = Literal["singleton", "scoped"]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FactorySpec:
    """A factory as it was registered."""

    factory: Callable[..., Any]
    provides: object
    lifetime: Lifetime
    label: str
    """How the object appears in the path of an error."""


def own_factory(owner: type, lifetime: Lifetime) -> FactorySpec:
    """Let a class that nobody registered build itself."""
    return FactorySpec(owner, owner, lifetime, show(owner))


def read_factory(
    factory: Callable[..., Any], *, provides: object, lifetime: FactoryLifetime
) -> FactorySpec:
    """Read a factory. Raises `ProviderError` if it does not say what it provides."""
    if lifetime not in ("singleton", "scoped"):
        msg = f"{place(factory)}: lifetime must be 'singleton' or 'scoped', not {lifetime!r}"
        raise ProviderError(msg)
    if not isinstance(factory, type):
        for unfit in (
            inspect.iscoroutinefunction,
            inspect.isgeneratorfunction,
            inspect.isasyncgenfunction,
        ):
            if unfit(factory):
                msg = f"{place(factory)}: a factory must be a plain function or a class"
                raise ProviderError(msg)
    if provides is None:
        provides = factory if isinstance(factory, type) else return_annotation(factory)
    if provides in (MISSING, None, type(None)):
        msg = (
            f"{place(factory)}: the factory must say what it provides: "
            f"annotate its return type, or pass provides="
        )
        raise ProviderError(msg)
    return FactorySpec(factory, provides, lifetime, show(provides))


def return_annotation(factory: Callable[..., Any]) -> object:
    """Return what a factory says that it returns."""
    try:
        return get_type_hints(factory, include_extras=True).get("return", MISSING)
    except NameError as error:
        msg = f"{place(factory)}: its return annotation does not evaluate: {error}"
        raise ProviderError(msg) from error


@dataclass(frozen=True, slots=True)
class Use:
    """The marker that `use` leaves in an annotation."""

    spec: FactorySpec


def use(factory: Callable[..., Any], *, lifetime: FactoryLifetime = "scoped") -> object:
    """Say, inside ``Annotated[T, ...]``, what builds a parameter.

    One factory used with one lifetime in several places is one provider, and shares what it has
    built.

    Raises `ProviderError` as `MessageRegistry.factory` does.
    """
    return Use(read_factory(factory, provides=factory, lifetime=lifetime))


@dataclass(frozen=True, slots=True)
class Wired:
    """A provider, and whether it needs a scope to work in."""

    provider: Provider
    needs_scope: bool


@dataclass(frozen=True, slots=True)
class WiredHandler:
    """The compiled call of a handler, and what a run of it needs."""

    call: Call
    needs_scope: bool
    wants_context: bool
    actor: Provider | None


RANK: Final[Mapping[Lifetime, int]] = {"singleton": 3, "actor": 2, "scoped": 1}
"""Who outlives whom: a dependency must not rank below what depends on it."""

KINDS: Final[Mapping[Lifetime, Callable[[Call], Provider]]] = {
    "singleton": Singleton,
    "actor": ActorProvider,
    "scoped": Scoped,
}

STAND_IN: Final = Wired(Constant(None), needs_scope=False)
"""Takes the place of a provider that was not found, until `check` raises."""


class Wiring:
    """Resolve parameters to providers, each factory compiled once.

    `values` are the objects that exist already, by type. Findings collect until `check` raises
    them.
    """

    def __init__(
        self, factories: Sequence[FactorySpec], core: Core, values: Mapping[type, object]
    ) -> None:
        self._factories = {spec.provides: spec for spec in factories}
        self._roles = {
            "message": Wired(MessageArgument(), needs_scope=False),
            "context": Wired(ContextArgument(), needs_scope=False),
        }
        self._bus = Wired(BusProvider(core), needs_scope=True)
        self._values: dict[object, Wired] = {
            key: Wired(Constant(value), needs_scope=False) for key, value in values.items()
        }
        self._built: dict[tuple[object, Lifetime], Wired] = {}
        self._building: list[object] = []
        self._findings: list[tuple[type[BusError], str]] = []

    def check(self) -> None:
        """Raise everything found so far, as one exception of the first finding's class."""
        if self._findings:
            raise self._findings[0][0]("\n".join(text for _, text in self._findings))

    def handler(self, spec: HandlerSpec) -> WiredHandler:
        """Compile the call of a handler."""
        path = (spec.name,)
        leading: list[Wired] = []
        if spec.owner is not None:
            leading.append(self._provider(own_factory(spec.owner, "actor"), path[:0]))
        call, needs_scope = self._call(spec.function, leading, spec.parameters, "scoped", path)
        return WiredHandler(
            call,
            needs_scope=needs_scope,
            wants_context=any(each.role == "context" for each in spec.parameters)
            or self._bus.provider in call.providers,
            actor=leading[0].provider if leading else None,
        )

    def _call(
        self,
        function: Callable[..., object],
        leading: Sequence[Wired],
        parameters: Sequence[Parameter],
        consumer: Lifetime,
        path: Path,
    ) -> tuple[Call, bool]:
        """Compile a call, and say whether it needs a scope."""
        wired = [*leading, *(self._argument(each, consumer, path) for each in parameters)]
        providers = tuple(each.provider for each in wired)
        names = tuple(each.name for each in parameters if each.keyword_only)
        return Call(function, providers, names), any(each.needs_scope for each in wired)

    def _argument(self, parameter: Parameter, consumer: Lifetime, path: Path) -> Wired:
        """Return what serves a parameter, in the order that the documentation gives."""
        if parameter.role != "dependency":
            return self._roles[parameter.role]
        annotation = parameter.annotation
        if get_origin(annotation) is Annotated:
            annotation, *extras = get_args(annotation)
            for extra in extras:
                if isinstance(extra, Use):
                    return self._factory(extra.spec, consumer, path)
        target = get_origin(annotation) or annotation
        if target is EventBus:
            return self._bus
        if target in self._values:
            return self._values[target]
        if annotation in self._factories:
            return self._factory(self._factories[annotation], consumer, path)
        if parameter.default is not MISSING:
            return Wired(Constant(parameter.default), needs_scope=False)
        if is_buildable(annotation):
            return self._factory(own_factory(annotation, consumer), consumer, path)
        what = (
            f"parameter `{parameter.name}` needs an annotation"
            if annotation is MISSING
            else f"nothing provides {show(annotation)}; register a factory that returns it"
        )
        return self._finding(ProviderError, path, f"{parameter.name}: {show(annotation)}", what)

    def _factory(self, spec: FactorySpec, consumer: Lifetime, path: Path) -> Wired:
        """Return the provider of a factory that a consumer depends on."""
        if RANK[spec.lifetime] < RANK[consumer]:
            who = "an actor" if consumer == "actor" else f"a {consumer}"
            what = f"{who} object cannot depend on a {spec.lifetime} one, which ends before it"
            return self._finding(LifetimeError, path, spec.label, what)
        if spec.factory in self._building:
            return self._finding(ProviderError, path, spec.label, "it needs itself to be built")
        return self._provider(spec, path)

    def _provider(self, spec: FactorySpec, path: Path) -> Wired:
        """Return the provider of a factory, compiled on first use."""
        key = (spec.factory, spec.lifetime)
        if key not in self._built:
            self._building.append(spec.factory)
            try:
                parameters = read_parameters(spec.factory, ProviderError)
                call, _ = self._call(
                    spec.factory, [], parameters, spec.lifetime, (*path, spec.label)
                )
            finally:
                self._building.pop()
            self._built[key] = Wired(
                KINDS[spec.lifetime](call), needs_scope=spec.lifetime != "singleton"
            )
        return self._built[key]

    def _finding(self, error: type[BusError], path: Path, label: str, what: str) -> Wired:
        """Note what is wrong, and go on with a stand-in to find the rest."""
        *owners, last = (*path, label)
        separator = "." if ": " in last else " → "
        text = f"{' → '.join(owners)}{separator if owners else ''}{last}: {what}"
        if (error, text) not in self._findings:
            self._findings.append((error, text))
        return STAND_IN


def is_buildable(annotation: object) -> TypeGuard[type]:
    """Say whether a class may be built from its own annotated `__init__`, unasked."""
    return (
        isinstance(annotation, type)
        and get_origin(annotation) is None
        and annotation is not MISSING
        and annotation.__module__ != "builtins"
        and not inspect.isabstract(annotation)
        and not getattr(annotation, "_is_protocol", False)
    )
