"""Providers to a validated dependency graph to compiled calls.

Everything is checked before the first message: what nothing provides, what needs itself, what
would outlive its own dependency. All findings are raised at once, each with its path.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeGuard, get_args, get_origin, get_type_hints

import msgspec

from runtime._actors import ActorProvider
from runtime._bus import EventBus, Scope
from runtime._context import MessageContext
from runtime._core import Core
from runtime._givens import BusProvider, ScopeProvider
from runtime._wiring import (
    Call,
    Constant,
    ContextArgument,
    Factory,
    MessageArgument,
    Provider,
    Scoped,
    Singleton,
    Transient,
)
from runtime.building import Lived, Resolver
from runtime.errors import BusError, ProviderError
from runtime.findings import Code, Finding, Place, failure
from runtime.signature import (
    MISSING,
    HandlerSpec,
    OwnerLifetime,
    Parameter,
    describe,
    fault,
    identity,
    is_asynchronous,
    plain_function,
    read_parameters,
    show,
    written,
)
from runtime.wired import Hands, Wired, WiredCall, WiredHandler

__all__ = ("FactorySpec", "Lifetime", "Use", "Wiring", "read_factory", "use")

Lifetime = OwnerLifetime
Mode = Literal["plain", "context", "async", "async_context"]

RANK: Final[Mapping[Lifetime, int]] = {"singleton": 3, "actor": 2, "scoped": 1}
"""Who outlives whom: a dependency must not rank below what depends on it. A transient belongs to
whoever asks."""

DEPENDENCY: Final = "bus-dependency"

MANAGERS: Final[Mapping[object, Mode]] = {
    contextlib.AbstractContextManager: "context",
    contextlib.AbstractAsyncContextManager: "async_context",
}


class FactorySpec(msgspec.Struct, frozen=True, eq=False):
    """A factory as it was registered."""

    factory: Callable[..., Any]
    provides: object
    lifetime: Lifetime
    label: str
    """How the object appears in the path of an error."""
    mode: Mode = "plain"
    """How the object is had: by a call, an await, or by entering what the call returns."""
    build: Callable[..., Any] | None = None
    """What is called, if not the factory itself."""

    @property
    def identity(self) -> object:
        """What makes a factory the same as another."""
        return identity(self.factory)


def own_factory(owner: type, lifetime: Lifetime) -> FactorySpec:
    """Let a class that nobody registered build itself."""
    return FactorySpec(owner, owner, lifetime, show(owner))


def actor_factory(owner: type) -> FactorySpec:
    """Let an actor class build itself, and live as long as it says if it is a context manager."""
    if not any(hasattr(owner, name) for name in ("__aenter__", "__enter__")):
        return own_factory(owner, "actor")

    def build(*arguments: object, **options: object) -> Lived:
        return Lived(owner(*arguments, **options))

    return FactorySpec(owner, owner, "actor", show(owner), "async_context", build)


def read_factory(
    factory: Callable[..., Any], *, provides: object, lifetime: Lifetime
) -> FactorySpec:
    """Read a factory. Raises `ProviderError` if it does not say what it provides."""
    if lifetime not in ("singleton", "actor", "scoped", "transient"):
        raise fault(DEPENDENCY, factory, f"lifetime must be one of the four, not {lifetime!r}")
    if isinstance(factory, type):
        served = factory if provides is None else provides
        return FactorySpec(factory, served, lifetime, show(served))
    returned = return_annotation(factory)
    build: Callable[..., Any] | None = None
    mode: Mode = "plain"
    made = get_args(returned)[0] if get_args(returned) else MISSING
    plain = inspect.unwrap(factory)
    is_async = is_asynchronous(factory) or inspect.iscoroutinefunction(plain)
    if inspect.isasyncgenfunction(factory):
        mode, build = "async_context", contextlib.asynccontextmanager(factory)
    elif inspect.isgeneratorfunction(factory):
        mode, build = "context", contextlib.contextmanager(factory)
    elif get_origin(returned) in MANAGERS and is_async:
        raise fault(
            DEPENDENCY,
            factory,
            "an asynchronous function cannot return a context manager to enter",
            "write an asynchronous generator, or a plain function that returns the manager",
            link=": ",
            parameter="return",
        )
    elif get_origin(returned) in MANAGERS:
        mode = MANAGERS[get_origin(returned)]
    elif inspect.isasyncgenfunction(plain) and plain is not factory:
        # What `contextlib` has wrapped keeps the annotation of the generator inside.
        mode = "async_context"
    elif inspect.isgeneratorfunction(plain) and plain is not factory:
        mode = "context"
    else:
        mode, made = ("async" if is_async else "plain"), returned
    served = made if provides is None else provides
    if get_origin(served) is Annotated:
        served = get_args(served)[0]
    if served in (MISSING, None, type(None)):
        raise fault(
            DEPENDENCY,
            factory,
            "the factory must say what it provides",
            "annotate its return type, or pass provides=",
            link=": ",
        )
    return FactorySpec(factory, served, lifetime, show(served), mode, build)


def return_annotation(factory: Callable[..., Any]) -> object:
    """Return what a factory says that it returns."""
    try:
        hints = get_type_hints(plain_function(factory), include_extras=True)
        return hints.get("return", MISSING)
    except NameError as error:
        what = f"its return annotation does not evaluate: {error}"
        raise fault(DEPENDENCY, factory, what, parameter="return") from error
    except TypeError:
        # Something in C: it has to be told what it provides.
        return MISSING


class Use(msgspec.Struct, frozen=True):
    """The marker that `use` leaves in an annotation."""

    spec: FactorySpec


def use(factory: Callable[..., object], *, lifetime: Lifetime = "scoped") -> Use:
    """Say, inside ``Annotated[T, ...]``, what builds a parameter.

    One factory used with one lifetime in several places is one provider, and shares what it has
    built.

    Raises `ProviderError` as `MessageRegistry.factory` does.
    """
    return Use(read_factory(factory, provides=factory, lifetime=lifetime))


class Foreign(msgspec.Struct, frozen=True):
    """What the resolver serves."""

    annotation: object


class Step(msgspec.Struct, frozen=True):
    """One link of the path from a handler to what serves it."""

    label: str
    target: Callable[..., Any] | None
    """What is called; None if nobody has written it."""
    asked_by: str | None = None
    """The parameter of the step before that this serves."""


Path = tuple[Step, ...]


class Surroundings(msgspec.Struct, dict=True):
    """What a wiring finds around it: the core, what exists already, and who else may serve."""

    core: Core
    values: Mapping[object, object]
    resolver: Resolver | None
    in_thread: Callable[[Callable[..., Any]], Callable[..., Any]]
    """Makes an asynchronous function of one that has to run in a thread."""

    @functools.cached_property
    def opening(self) -> Scoped:
        """What enters the resolver's scope, once for each scope."""
        enter = self.resolver.scope if self.resolver is not None else contextlib.AsyncExitStack
        return Scoped(Call(enter, ()), "async_context", ())


class Wiring:
    """Resolve parameters to providers, each factory compiled once.

    Findings collect until they are taken, or `check` raises them. A wiring with a `base` differs
    from it in its `overrides`: what does not reach an overridden type is the base's.
    """

    def __init__(
        self,
        around: Surroundings,
        factories: dict[object, FactorySpec],
        base: Wiring | None = None,
        overrides: Mapping[object, object] | None = None,
        built: dict[object, Wired] | None = None,
    ) -> None:
        self.around = around
        self.factories = factories
        self.base = base
        self.overrides: Mapping[object, object] = {} if overrides is None else overrides
        self.built: dict[object, Wired] = {} if built is None else built
        core = around.core
        # What is compiled for an override may have to be compiled in the base, too.
        self._building: list[object] = [] if base is None else base._building  # noqa: SLF001
        self._findings: list[Finding] = (
            [] if base is None else base._findings  # noqa: SLF001
        )
        self._fresh: list[tuple[dict[object, Wired], object]] = (
            [] if base is None else base._fresh  # noqa: SLF001
        )
        self._reaching: dict[object, bool] = {}
        self._known: dict[object, Wired] = {
            EventBus: Wired(BusProvider(core), "the bus", needs_scope=True, hands=Hands.THE_BUS),
            Scope: Wired(ScopeProvider(core), "the scope", needs_scope=True, hands=Hands.THE_SCOPE),
        }
        for key, value in self.around.values.items():
            self._known[key] = Wired(Constant(value), f"the {show(key)} itself")
        for key, value in self.overrides.items():
            if not isinstance(value, Use):
                self._known[key] = Wired(Constant(value), f"the override {value!r}")

    def extended(self, factories: Sequence[FactorySpec]) -> Wiring:
        """Return a wiring that knows more factories, and shares all that has been compiled."""
        known = {**self.factories, **{spec.provides: spec for spec in factories}}
        return Wiring(self.around, known, self.base, self.overrides, self.built)

    def overridden(self, overrides: Mapping[object, object]) -> Wiring:
        """Return a wiring in which these types are served by other values or factories."""
        base = self if self.base is None else self.base
        return Wiring(self.around, self.factories, base, {**self.overrides, **overrides})

    def take_findings(self) -> tuple[Finding, ...]:
        """Return everything found since the last time."""
        found = tuple(self._findings)
        fresh = list(self._fresh)
        self._findings.clear()
        self._fresh.clear()
        if found:
            # What was compiled over a stand-in must not serve anybody later.
            for built, key in fresh:
                built.pop(key, None)
        return found

    def check(self) -> None:
        """Raise everything found so far, as one exception of the first finding's class."""
        found = self.take_findings()
        if found:
            raise failure(found)

    def handler(self, spec: HandlerSpec) -> WiredHandler:
        """Compile the call of a handler."""
        path = (Step(spec.name, spec.function),)
        leading: list[tuple[str, Wired]] = []
        actor: Provider | None = None
        if spec.owner is not None:
            is_actor = spec.lifetime == "actor"
            own = actor_factory(spec.owner) if is_actor else own_factory(spec.owner, spec.lifetime)
            owner = self._factory(own, "scoped", (), None)
            leading.append(("self", owner))
            actor = owner.provider
        function = self.around.in_thread(spec.function) if spec.in_thread else spec.function
        wired = self._call(function, leading, spec.parameters, "scoped", path)
        return WiredHandler(
            call=wired.call,
            is_async=spec.is_async or spec.in_thread,
            needs_scope=wired.needs_scope or wired.manages,
            wants_context=any(each.role == "context" for each in spec.parameters)
            or self._known[EventBus].provider in wired.call.providers,
            actor=actor if spec.lifetime == "actor" and isinstance(actor, Factory) else None,
            waits=wired.waits,
            manages=wired.manages,
            hands=wired.hands,
            arguments=wired.arguments,
        )

    def resolve(self, wanted: object) -> Wired:
        """Return what serves a type to a handler. Raises `ProviderError`."""
        parameter = Parameter("wanted", wanted, MISSING, keyword_only=False)
        wired = self._argument(parameter, "scoped", (Step("resolve()", None),))
        self.check()
        return wired

    def _call(
        self,
        function: Callable[..., object],
        leading: Sequence[tuple[str, Wired]],
        parameters: Sequence[Parameter],
        consumer: Lifetime,
        path: Path,
    ) -> WiredCall:
        arguments = (
            *leading,
            *((each.name, self._argument(each, consumer, path)) for each in parameters),
        )
        providers = tuple(each.provider for _, each in arguments)
        names = tuple(each.name for each in parameters if each.keyword_only)
        return WiredCall(Call(function, providers, names), arguments)

    def _argument(self, parameter: Parameter, consumer: Lifetime, path: Path) -> Wired:
        """Return what serves a parameter."""
        if parameter.role == "message":
            return Wired(MessageArgument(), "the message")
        if parameter.role == "context":
            annotation = parameter.annotation
            own = annotation if is_own_context(annotation) else None
            return Wired(ContextArgument(own), "the context")
        source = self._source(parameter, consumer)
        if isinstance(source, FactorySpec):
            return self._factory(source, consumer, path, parameter.name)
        if isinstance(source, Foreign):
            return self._foreign(source.annotation, consumer, path, parameter.name)
        if source is not None:
            return source
        annotation = parameter.annotation
        if annotation is MISSING:
            label, what = parameter.name, "it needs an annotation that says what to provide"
            advice = ""
        else:
            label = f"{parameter.name}: {show(annotation)}"
            what = f"nothing provides {show(annotation)}"
            advice = "register a factory that returns it"
        # The parameter belongs to the last step.
        labels = [each.label for each in path]
        labels[-1] = f"{labels[-1]}.{label}"
        return self._finding(DEPENDENCY, labels, what, advice, path, parameter.name)

    def _source(
        self, parameter: Parameter, consumer: Lifetime
    ) -> Wired | FactorySpec | Foreign | None:
        """Find what serves a dependency, in the order that the documentation gives."""
        annotation = parameter.annotation
        marker: Use | None = None
        if get_origin(annotation) is Annotated:
            annotation, *extras = get_args(annotation)
            marker = next((each for each in extras if isinstance(each, Use)), None)
        if not is_hashable(annotation):
            return None
        for key in (annotation, get_origin(annotation)):
            if key in self.overrides and isinstance(fake := self.overrides[key], Use):
                return fake.spec
            if key in self.overrides or (marker is None and key in self._known):
                return self._known[key]
        if marker is not None:
            return marker.spec
        if annotation in self.factories:
            return self.factories[annotation]
        if annotation is MISSING:
            return None
        resolver = self.around.resolver
        # In full first: the container may have markers of its own.
        for wanted in dict.fromkeys(filter(is_hashable, (parameter.annotation, annotation))):
            if resolver is not None and resolver.provides(wanted):
                return Foreign(wanted)
        if parameter.default is not MISSING:
            return Wired(Constant(parameter.default), f"the default {parameter.default!r}")
        return own_factory(annotation, consumer) if is_buildable(annotation) else None

    def _factory(
        self, spec: FactorySpec, consumer: Lifetime, path: Path, asked_by: str | None
    ) -> Wired:
        """Return the provider of a factory for a parameter of what comes last in a path."""
        lives = consumer if spec.lifetime == "transient" else spec.lifetime
        if RANK[lives] < RANK[consumer]:
            return self._outlived(spec.label, spec.lifetime, consumer, path, asked_by)
        if spec.identity in self._building:
            labels = [*(each.label for each in path), spec.label]
            what = "it needs itself to be built"
            return self._finding("bus-cycle", labels, what, "", path, asked_by)
        if self.base is not None and not self._reaches(spec, lives):
            return self.base._factory(spec, consumer, path, asked_by)  # noqa: SLF001
        key = (spec.identity, spec.lifetime, lives, spec.mode)
        if key not in self.built:
            self._building.append(spec.identity)
            try:
                step = Step(spec.label, spec.factory, asked_by)
                wired = self._compile(spec, lives, (*path, step))
            except ProviderError as error:
                labels = [*(each.label for each in path), spec.label]
                wired = self._finding(DEPENDENCY, labels, str(error), "", path, asked_by, error)
            finally:
                self._building.pop()
            self.built[key] = wired
            self._fresh.append((self.built, key))
        return self.built[key]

    def _compile(self, spec: FactorySpec, lives: Lifetime, path: Path) -> Wired:
        """Compile a factory."""
        parameters = read_parameters(spec.factory, DEPENDENCY)
        inner = self._call(spec.build or spec.factory, (), parameters, lives, path)
        waits = inner.waits
        provider: Factory
        if spec.lifetime == "singleton":
            provider = Singleton(inner.call, spec.mode, waits, self.around.core.root)
        else:
            kinds = {"actor": ActorProvider, "scoped": Scoped, "transient": Transient}
            provider = kinds[spec.lifetime](inner.call, spec.mode, waits)
        entered = spec.mode in ("context", "async_context")
        enters = entered or any(each.enters for _, each in inner.arguments)
        # What outlives every scope is entered by a task of its own.
        owned = (entered and spec.lifetime == "singleton") or (enters and spec.lifetime == "actor")
        awaited = bool(waits) or owned or spec.mode in ("async", "async_context")
        return Wired(
            provider,
            f"{show(spec.provides)} ({spec.lifetime})",
            needs_scope=lives != "singleton"
            and (spec.lifetime != "transient" or inner.needs_scope or entered or bool(waits)),
            waits=(provider,) if awaited else (),
            manages=lives == "scoped" and (entered or inner.manages),
            enters=enters and spec.lifetime == "transient",
            hands=inner.hands if lives == "scoped" else Hands.NOTHING,
            inner=inner.arguments,
        )

    def _foreign(self, annotation: object, consumer: Lifetime, path: Path, asked_by: str) -> Wired:
        """Return what a foreign container serves; its own scope opens once for each of ours."""
        if RANK["scoped"] < RANK[consumer]:
            label = f"{show(annotation)} (from the resolver)"
            return self._outlived(label, "scoped", consumer, path, asked_by)
        key = ("foreign", annotation)
        if key not in self.built:
            opening = self.around.opening
            call = Call(functools.partial(resolve_in, annotation), (opening,))
            provider = Scoped(call, "async", (opening,))
            self.built[key] = Wired(
                provider,
                f"{show(annotation)} (from the resolver)",
                needs_scope=True,
                waits=(provider,),
                manages=True,
            )
        return self.built[key]

    def _outlived(
        self, label: str, lives: Lifetime, consumer: Lifetime, path: Path, asked_by: str | None
    ) -> Wired:
        """Note that something would end before what depends on it."""
        who = "an actor" if consumer == "actor" else f"a {consumer}"
        what = f"{who} object cannot depend on a {lives} one, which ends before it"
        labels = [*(each.label for each in path), label]
        advice = "give one of them another lifetime"
        return self._finding("bus-lifetime", labels, what, advice, path, asked_by)

    def _reaches(self, spec: FactorySpec, lives: Lifetime) -> bool:
        """Say whether building an object comes to an overridden type."""
        if spec.identity not in self._reaching:
            # Until it is known better; a cycle is found elsewhere.
            self._reaching[spec.identity] = any(
                isinstance(fake, Use) and fake.spec is spec for fake in self.overrides.values()
            )
            try:
                parameters = read_parameters(spec.factory, DEPENDENCY)
            except ProviderError:
                # Reported where it is compiled.
                return False
            for parameter in parameters:
                annotation = parameter.annotation
                if get_origin(annotation) is Annotated:
                    annotation = get_args(annotation)[0]
                source = self._source(parameter, lives)
                if not is_hashable(annotation):
                    continue
                names = {annotation, get_origin(annotation)}
                if names & self.overrides.keys() or (
                    isinstance(source, FactorySpec) and self._reaches(source, lives)
                ):
                    self._reaching[spec.identity] = True
        return self._reaching[spec.identity]

    def _finding(
        self,
        code: Code,
        labels: Sequence[str],
        what: str,
        advice: str,
        path: Path,
        asked_by: str | None,
        cause: BusError | None = None,
    ) -> Wired:
        """Note what is wrong, and go on with a stand-in to find the rest."""
        text = f"{' → '.join(labels)}: {what}{'; ' if advice else ''}{advice}"
        if all(each.text != text for each in self._findings):
            first = path[0].target if path else None
            subject = labels[0] if first is None else describe(first)[0]
            where = places(path, asked_by)
            for inner in () if cause is None else cause.findings:
                what, advice, where = inner.what, inner.advice, (*where, *inner.places)
            self._findings.append(Finding(code, subject, text, what, advice, tuple(labels), where))
        return Wired(Constant(None), "nothing")


def places(path: Path, parameter: str | None) -> tuple[Place, ...]:
    """Return where the parameters are written that lead from each step to the next."""
    parameters = [*(each.asked_by for each in path[1:]), parameter]
    return tuple(
        written(each.target, parameter)
        for each, parameter in zip(path, parameters, strict=False)
        if each.target is not None
    )


def resolve_in(annotation: object, scope: Any) -> Any:
    """Ask a foreign container's scope for an object."""
    return scope.resolve(annotation)


def is_own_context(annotation: object) -> TypeGuard[type]:
    """Say whether a handler asks for a context class of the user's own."""
    return (
        isinstance(annotation, type)
        and annotation is not MessageContext
        and issubclass(annotation, MessageContext)
    )


def is_hashable(key: object) -> bool:
    """Say whether something can be looked up."""
    try:
        hash(key)
    except TypeError:
        return False
    return True


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
