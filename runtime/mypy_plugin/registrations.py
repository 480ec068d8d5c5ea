"""What is registered where: each handler, guard and factory is checked at its registration."""

from __future__ import annotations

from typing import Final

import msgspec
from mypy.nodes import (
    CallExpr,
    ClassDef,
    Context,
    Decorator,
    Expression,
    FloatExpr,
    FuncDef,
    IntExpr,
    LambdaExpr,
    MemberExpr,
    Node,
    RefExpr,
    StrExpr,
    SymbolNode,
    TypeInfo,
    Var,
)
from mypy.types import Instance, NoneType, Type, UnionType, get_proper_type

from runtime.mypy_plugin.annotations import Annotations
from runtime.mypy_plugin.bases import COMMAND, Bases, bases_of, message_types
from runtime.mypy_plugin.callables import Called, callable_of, of_decorated
from runtime.mypy_plugin.dependencies import Dependencies
from runtime.mypy_plugin.findings import (
    DEPENDENCY,
    DUPLICATE_HANDLER,
    FROZEN,
    report,
    show,
)
from runtime.mypy_plugin.frozen import frozen_sites
from runtime.mypy_plugin.modules import ModuleView
from runtime.mypy_plugin.providers import Providers, argument, made_by_call
from runtime.mypy_plugin.replies import check_reply
from runtime.mypy_plugin.signatures import Options, Signatures
from runtime.mypy_plugin.values import Method, Value, Values

__all__ = ("Registrations",)


BOOLS: Final = frozenset({"builtins.True", "builtins.False"})
NO_OPTIONS: Final = Options()


class Given(msgspec.Struct, frozen=True):
    """One thing that is registered."""

    value: Value | None
    called: Called | None
    at: Context
    is_decorated: bool = False


class Site(msgspec.Struct, frozen=True):
    """One place where something is registered on a registry."""

    registry: Expression
    type: Type
    options: CallExpr | None
    node: Expression
    """The call, or the decorator."""
    place: Node
    """What the module's view knows the place of."""


class Registrations:
    """Check what a module registers."""

    def __init__(self, view: ModuleView) -> None:
        self.view = view
        self._values = Values(view)
        self._annotations = Annotations(view, self._values)
        self._providers = Providers(view, self._values)
        self._signatures = Signatures(view, self._annotations)
        self._dependencies = Dependencies(view, self._values, self._annotations, self._providers)
        self._handled: dict[tuple[Var, FuncDef | None, str], Called] = {}
        self._bases: dict[tuple[Type, SymbolNode | None], Bases | None] = {}
        self._frozen: dict[FuncDef, dict[Node, str]] = {}

    def decorated(
        self, decorator: Expression, place: Decorator | ClassDef, registry: Type, typ: Type
    ) -> None:
        """Check what a decorator registers; `typ` is what the decorators below it have made."""
        options = decorator if isinstance(decorator, CallExpr) else None
        member = decorator.callee if isinstance(decorator, CallExpr) else decorator
        if not isinstance(member, MemberExpr):
            return
        given: Given
        if isinstance(place, ClassDef):
            given = Given(place.info, None, place, is_decorated=True)
        else:
            if place.func.info and not (place.func.is_static or place.func.is_class):
                called = callable_of(self.view, Method(place.func, place, is_bound=False))
            else:
                called = of_decorated(self.view, place, place, typ, skip=0)
            given = Given(place, called, place.func, is_decorated=True)
        self._check(member.name, Site(member.expr, registry, options, decorator, place), [given])

    def called(self, call: CallExpr, registry: Type) -> None:
        """Check what a call registers: `registry.register(f, g)` or `registry.register()(f)`."""
        inner = call.callee if isinstance(call.callee, CallExpr) else call
        member = inner.callee
        if not isinstance(member, MemberExpr):
            return
        given = [
            self._given(each)
            for each, kind in zip(call.args, call.arg_kinds, strict=True)
            if kind.is_positional()
        ]
        self._check(member.name, Site(member.expr, registry, inner, call, call), given)

    def _given(self, expression: Expression) -> Given:
        value = self._values.of(expression)
        return Given(value, callable_of(self.view, value), expression)

    def _check(self, kind: str, site: Site, given: list[Given]) -> None:
        typ = self.view.checker.lookup_type_or_none(site.registry)
        bases = self._bases_of(site)
        # Of what may be either of two registries, only one need be right.
        if bases is None or (typ is not None and isinstance(get_proper_type(typ), UnionType)):
            return
        self._check_frozen(site)
        for each in given:
            if kind == "register":
                self._check_handler(site, each, bases)
            elif kind == "guard" and each.called is not None:
                self._signatures.check_guard(each.called, bases, each.at)
            elif kind == "factory":
                self._check_factory(site, each)

    def _bases_of(self, site: Site) -> Bases | None:
        node = site.registry.node if isinstance(site.registry, RefExpr) else None
        key = (site.type, node)
        if key not in self._bases:
            self._bases[key] = bases_of(self.view, site.registry, site.type)
        return self._bases[key]

    def _check_frozen(self, site: Site) -> None:
        place = self.view.places.get(site.place)
        function = None if place is None else place.function
        if function is None or function not in self.view.opening:
            return
        if function not in self._frozen:
            self._frozen[function] = frozen_sites(self.view, function)
        registry = self._frozen[function].get(site.node)
        if registry is not None:
            text = (
                f"`{registry}` was given to a terminal that is open, which does not see what is "
                f"registered now: register before it is opened, or `include` the registry after"
            )
            report(self.view.checker, text, site.node, FROZEN)

    def _check_handler(self, site: Site, given: Given, bases: Bases) -> None:
        options = told = options_of(site.options)
        is_closed = self._providers.is_made_here(site.registry)
        handlers: list[Called] = []
        if isinstance(given.value, TypeInfo):
            # The rest is for the class, and these for each of its methods.
            told = msgspec.structs.replace(options, lifetime=None, on_failure="resume")
            handlers = self._signatures.methods(given.value, bases, given.at)
            lives = (options.lifetime or "scoped") if options.is_known else None
            self._dependencies.check_value(given.value, lives, is_closed=is_closed)
        elif given.called is not None:
            handlers = [given.called]
        for each in handlers:
            told_at = site.node if given.is_decorated else given.at
            self._signatures.check_options(each, told, told_at)
            if self._signatures.check(each, bases, given.at):
                check_reply(self.view, each, given.at)
                self._dependencies.check_handler(each, is_closed=is_closed)
                self._check_duplicate(site, given, each)

    def _check_duplicate(self, site: Site, given: Given, handler: Called) -> None:
        place = self.view.places.get(site.place)
        registry = site.registry.node if isinstance(site.registry, RefExpr) else None
        if place is None or place.is_conditional or not isinstance(registry, Var):
            return
        first = handler.parameters[0].type
        items = None if first is None else message_types(first)
        for each in items or ():
            if not isinstance(each, Instance) or not each.type.has_base(COMMAND):
                continue
            key = (registry, place.function, each.type.fullname)
            other = self._handled.setdefault(key, handler)
            if other.identity != handler.identity and self.view.is_bound_once(registry):
                text = (
                    f"{handler.name}: the command {each.type.name} has a handler already, "
                    f"{other.name}, and a command has one: remove one of them, or register them "
                    f"on registries of different terminals"
                )
                itself = isinstance(given.value, (FuncDef, Decorator, TypeInfo))
                where = handler.at(None, given.at) if itself else given.at
                report(self.view.checker, text, where, DUPLICATE_HANDLER)

    def _check_factory(self, site: Site, given: Given) -> None:
        options = site.options
        provides = None if options is None else argument(options, "provides")
        told = options_of(options)
        lifetime = (told.lifetime or "scoped") if told.is_known else None
        is_closed = self._providers.is_made_here(site.registry)
        if given.called is None:
            self._dependencies.check_value(given.value, lifetime, is_closed=is_closed)
        else:
            self._dependencies.check_factory(given.called, lifetime, is_closed=is_closed)
        if not told.is_known:
            return
        if provides is None:
            self._check_says_what(given)
        else:
            self._check_provides(given, provides)

    def _check_says_what(self, given: Given) -> None:
        """Report a factory that does not say what it provides."""
        called = given.called
        result = None if called is None else called.result
        is_lambda = isinstance(given.value, LambdaExpr)
        if not is_lambda and (called is None or called.function is None):
            return
        if result is not None and not isinstance(get_proper_type(result), NoneType):
            return
        name = "the lambda" if called is None else called.name
        text = (
            f"{name}: the factory must say what it provides: annotate its return type, or pass "
            f"provides="
        )
        where = given.at if called is None else called.at_result(given.at)
        report(self.view.checker, text, where, DEPENDENCY)

    def _check_provides(self, given: Given, provides: Expression) -> None:
        """Report a factory that gives something else than what it is registered for."""
        wanted = self._providers.type_of(provides)
        if given.is_decorated and given.called is not None:
            made = made_by_call(given.called)
        else:
            made = self._providers.made_by(given.value)
        if isinstance(given.value, LambdaExpr):
            made = self._providers.made_by_lambda(given.value)
        if wanted is None or made is None or self._dependencies.fits(made, wanted):
            return
        checker = self.view.checker
        asked, gives = show(checker, wanted), show(checker, made)
        called = given.called
        name = given.value.name if isinstance(given.value, TypeInfo) else "the factory"
        text = (
            f"{name if called is None else called.name}: is registered with provides={asked}, but "
            f"gives {gives}; register it for that, or return {asked}"
        )
        at_result = given.is_decorated and called is not None
        where = called.at_result(given.at) if at_result and called is not None else given.at
        report(checker, text, where, DEPENDENCY)


def options_of(call: CallExpr | None) -> Options:
    """Return what a call of `register` or `factory` says besides what is registered."""
    if call is None:
        return NO_OPTIONS
    if any(kind.is_star() for kind in call.arg_kinds):
        return Options(is_known=False)
    lifetime = argument(call, "lifetime")
    is_none = isinstance(lifetime, RefExpr) and lifetime.fullname == "builtins.None"
    in_thread, timeout = argument(call, "in_thread"), argument(call, "timeout")
    on_failure = argument(call, "on_failure")
    is_written = (
        (lifetime is None or is_none or isinstance(lifetime, StrExpr))
        and (in_thread is None or (isinstance(in_thread, RefExpr) and in_thread.fullname in BOOLS))
        and (on_failure is None or isinstance(on_failure, StrExpr))
    )
    return Options(
        lifetime=lifetime.value if isinstance(lifetime, StrExpr) else None,
        in_thread=isinstance(in_thread, RefExpr) and in_thread.fullname == "builtins.True",
        timeout=isinstance(timeout, (IntExpr, FloatExpr)),
        on_failure=on_failure.value if isinstance(on_failure, StrExpr) else "resume",
        is_known=is_written,
    )
