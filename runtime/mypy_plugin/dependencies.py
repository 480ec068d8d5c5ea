"""`bus-dependency` and `bus-lifetime`: what parameters are given, and how long it lives."""

from __future__ import annotations

from typing import Final

from mypy.nodes import Context, FuncDef, TypeInfo
from mypy.subtypes import is_subtype
from mypy.types import AnyType, Instance, Type, get_proper_type, has_type_vars

from runtime.mypy_plugin.annotations import Annotations, Use
from runtime.mypy_plugin.callables import Called, Parameter, callable_of, method_of
from runtime.mypy_plugin.findings import DEPENDENCY, LIFETIME, report, show
from runtime.mypy_plugin.modules import ModuleView
from runtime.mypy_plugin.providers import Providers, is_built_in
from runtime.mypy_plugin.signatures import is_context, is_unknown_context
from runtime.mypy_plugin.values import Value, Values

__all__ = ("Dependencies",)

RANK: Final = {"singleton": 3, "actor": 2, "scoped": 1}
OWNERS: Final = {"singleton": "a singleton", "actor": "an actor's object"}


class Dependencies:
    """Check what handlers and factories ask for, where they are written in this module."""

    def __init__(
        self, view: ModuleView, values: Values, annotations: Annotations, providers: Providers
    ) -> None:
        self._view = view
        self._values = values
        self._annotations = annotations
        self._providers = providers
        self._seen: set[tuple[FuncDef, str, bool]] = set()

    def check_handler(self, called: Called, *, is_closed: bool) -> None:
        """Check what a handler asks for besides its message and context.

        `is_closed` says whether this module shows all that its registry may provide.
        """
        for number, each in enumerate(called.parameters[1:]):
            if each.type is not None and is_context(each.type):
                continue
            if number == 0 and is_unknown_context(each):
                continue
            self._check(called, each, "scoped", is_closed=is_closed)

    def check_value(self, value: Value | None, lifetime: str | None, *, is_closed: bool) -> None:
        """Check what a factory, or a class that is built, asks for."""
        if isinstance(value, TypeInfo):
            called = method_of(self._view, value.get_method("__init__"), value)
        else:
            called = callable_of(self._view, value)
        self.check_factory(called, lifetime, is_closed=is_closed)

    def check_factory(
        self, called: Called | None, lifetime: str | None, *, is_closed: bool
    ) -> None:
        """Check what a factory asks for."""
        if called is None or called.written is None:
            return
        key = (called.written, lifetime or "", is_closed)
        if key in self._seen:
            return
        self._seen.add(key)
        for each in called.parameters:
            self._check(called, each, lifetime, is_closed=is_closed)

    def _check(
        self, called: Called, parameter: Parameter, consumer: str | None, *, is_closed: bool
    ) -> None:
        """Check one parameter; `consumer` is how long the object lives that asks for it."""
        if called.written is None or parameter.written is None or parameter.kind.is_star():
            return
        where = parameter.written
        if parameter.type is None:
            if not parameter.has_default:
                text = "needs an annotation that says what to provide"
                self._report(called, parameter, text, where)
            return
        annotation = self._annotations.of(where.type_annotation, called.written)
        if annotation.use is not None:
            self._check_use(called, parameter, annotation.use, consumer, is_closed=is_closed)
        elif (
            is_closed
            and annotation.is_certain
            and not parameter.has_default
            and is_built_in(parameter.type)
            and not self._providers.may_provide(parameter.type)
        ):
            typ = show(self._view.checker, parameter.type)
            text = (
                f"is annotated {typ}, which nothing provides: give it a default, or say what "
                f"provides it, as in `{parameter.name}: Annotated[{typ}, use(factory)]`"
            )
            self._report(called, parameter, text, where)

    def _report(self, called: Called, parameter: Parameter, text: str, where: Context) -> None:
        text = f"{owner_of(called)}: parameter `{parameter.name}` {text}"
        report(self._view.checker, text, where, DEPENDENCY)

    def _check_use(
        self,
        called: Called,
        parameter: Parameter,
        use: Use,
        consumer: str | None,
        *,
        is_closed: bool,
    ) -> None:
        if called.written is None or parameter.written is None or parameter.type is None:
            return
        factory = self._values.read(use.factory, called.written)
        made = self._providers.made_by(factory)
        wanted = get_proper_type(parameter.type)
        if made is not None and not isinstance(wanted, AnyType) and not self.fits(made, wanted):
            given, asked = show(self._view.checker, made), show(self._view.checker, wanted)
            text = (
                f"is annotated {asked}, but `use({use.text})` gives {given}; annotate it "
                f"{given}, or use a factory that returns {asked}"
            )
            self._report(called, parameter, text, parameter.written)
        lives = consumer if use.lifetime == "transient" else use.lifetime
        if lives in RANK and consumer in RANK and RANK[lives] < RANK[consumer]:
            text = (
                f"{owner_of(called)}: {OWNERS[consumer]} cannot depend on a {lives} one, which "
                f"ends before it: give `use({use.text})` of parameter `{parameter.name}` "
                f'lifetime="{consumer}", or build {owner_of(called)} for each scope'
            )
            report(self._view.checker, text, parameter.written, LIFETIME)
            return
        self.check_value(factory, lives, is_closed=is_closed)

    def fits(self, made: Type, wanted: Type) -> bool:
        """Say whether what a factory gives is what is asked for, as far as that is certain."""
        if has_type_vars(made) or has_type_vars(wanted):
            return True
        for each in (get_proper_type(made), get_proper_type(wanted)):
            if isinstance(each, Instance):
                self._view.depend_on(each.type)
        return is_subtype(made, wanted, options=self._view.checker.options)


def owner_of(called: Called) -> str:
    """Return the name of what asks: the function, or the class that is built."""
    return called.name.removesuffix(".__init__")
