"""`bus-handler-signature`: what `runtime.signature` refuses, and a context that never comes."""

from __future__ import annotations

import msgspec
from mypy.nodes import ARG_STAR, ARG_STAR2, Context, Decorator, FuncDef, TypeInfo, Var
from mypy.subtypes import is_subtype
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    NoneType,
    ProperType,
    Type,
    TypeOfAny,
    TypeType,
    TypeVarType,
    UnionType,
    get_proper_type,
)

from runtime.mypy_plugin.annotations import PLAIN, Annotation, Annotations
from runtime.mypy_plugin.bases import CONTEXT, Bases, message_types
from runtime.mypy_plugin.callables import Called, Parameter, method_of
from runtime.mypy_plugin.findings import HANDLER_SIGNATURE, report, show
from runtime.mypy_plugin.modules import ModuleView

__all__ = ("Options", "Signatures")


class Options(msgspec.Struct, frozen=True):
    """What `register` was told, as far as it is written out."""

    lifetime: str | None = None
    in_thread: bool = False
    timeout: bool = False
    """Whether there is one."""
    on_failure: str = "resume"
    is_known: bool = True
    """Whether all of it is written out."""


class Signatures:
    """Check how handlers and guards are written."""

    def __init__(self, view: ModuleView, annotations: Annotations) -> None:
        self._view = view
        self._annotations = annotations

    def check(self, called: Called, bases: Bases, site: Context) -> bool:
        """Say whether a function can be a handler, after reporting why not."""
        flaw = self._flaw(called, bases) or self._context_flaw(called)
        if flaw is not None:
            self._report(called, flaw, site)
        return flaw is None

    def check_options(self, called: Called, options: Options, site: Context) -> None:
        """Report a function that is right, and a registration that is not."""
        flaw = self._misplaced(called, options)
        if flaw is not None:
            text = f"{called.name} cannot be registered like this: {flaw}"
            report(self._view.checker, text, site, HANDLER_SIGNATURE)

    def check_guard(self, called: Called, bases: Bases, site: Context) -> None:
        """Report why a function cannot be a guard, unless mypy does."""
        if not called.is_async:
            return
        flaw = self._flaw(called, bases) or self._guard_flaw(called)
        if flaw is not None:
            self._report(called, flaw, site)

    def methods(self, owner: TypeInfo, bases: Bases, site: Context) -> list[Called]:
        """Return the methods of a class that are handlers, after reporting what is wrong."""
        names = dict.fromkeys(
            name for base in reversed(owner.mro[:-1]) for name in base.names if name[0] != "_"
        )
        for base in owner.mro[:-1]:
            self._view.depend_on(base)
        found: list[Called] = []
        certain = not owner.fallback_to_any
        for name in names:
            symbol = owner.get(name)
            node = None if symbol is None else symbol.node
            if isinstance(node, (FuncDef, Decorator)):
                function = node.func if isinstance(node, Decorator) else node
                if function.is_property:
                    continue
                method = method_of(self._view, node, (function, owner))
                hears = None if method is None else self._hears(method, bases, owner)
                if method is not None and hears:
                    found.append(method)
                certain = certain and hears is not None
            elif not isinstance(node, Var) or not is_data(node):
                certain = False
        if certain and not found:
            text = (
                f"{owner.name}: no public method takes an event; the first parameter after `self` "
                f"must be annotated with a subclass of {bases.text}"
            )
            where = owner.defn if self._view.is_here(owner) else site
            report(self._view.checker, text, where, HANDLER_SIGNATURE)
        return found

    def _hears(self, method: Called, bases: Bases, owner: TypeInfo) -> bool | None:
        """Say whether a method's first parameter takes a message."""
        first = method.parameters[0] if method.parameters else None
        if first is None or first.type is None or first.kind.is_star():
            return False
        items = message_types(first.type)
        if items is None:
            return None
        inherited = method.function is None or method.function.info is not owner
        if inherited and any(isinstance(each, TypeVarType) for each in items):
            # What it stands for here is not what the runtime reads.
            return None
        for each in items:
            if isinstance(each, Instance):
                self._view.depend_on(each.type)
        taken = [bases.take(each) for each in items]
        if any(taken):
            return True
        return None if None in taken else False

    def _report(self, called: Called, flaw: tuple[str, Parameter | None], site: Context) -> None:
        text, parameter = flaw
        where = called.at(parameter, site)
        report(self._view.checker, f"{called.name}: {text}", where, HANDLER_SIGNATURE)

    def _flaw(self, called: Called, bases: Bases) -> tuple[str, Parameter | None] | None:
        """Return what is wrong with a signature, in the order in which the runtime looks."""
        if called.flaw:
            return f"{called.flaw}: register a function, a bound method, or the class", None
        for each in called.parameters:
            if each.kind in (ARG_STAR, ARG_STAR2):
                stars = "*" if each.kind == ARG_STAR else "**"
                return (
                    f"parameter `{stars}{each.name}` cannot be wired; "
                    f"name each dependency as a parameter of its own"
                ), each
        function = called.function
        if function is not None and function.is_generator:
            return "a handler cannot be a generator; emit the results as events instead", None
        first = called.parameters[0] if called.parameters else None
        if first is None or not first.kind.is_positional():
            return f"its first parameter must take the event, as in `event: {bases.text}`", None
        if first.type is None:
            return (
                f"parameter `{first.name}` needs an annotation: it says which events the handler "
                f"hears, as in `{first.name}: {bases.text}`"
            ), first
        return self._wrong_message(first, bases)

    def _wrong_message(self, first: Parameter, bases: Bases) -> tuple[str, Parameter | None] | None:
        items = None if first.type is None else message_types(first.type)
        for each in items or ():
            if isinstance(each, Instance):
                self._view.depend_on(each.type)
            if isinstance(each, NoneType):
                text = f"parameter `{first.name}` may be None, but a message is never None"
                return f"{text}; leave it out", first
            if bases.take(each) is False:
                return (
                    f"parameter `{first.name}` is annotated {show(self._view.checker, each)}, "
                    f"which is not a subclass of {bases.text}, the base of this registry; derive "
                    f"it, or declare the registry with another `event_base=`"
                ), first
        return None

    def _misplaced(self, called: Called, options: Options) -> str | None:
        """Return what is wrong with the options of a function's registration."""
        if not options.is_known or called.function is None or called.decorated is not None:
            return None
        if options.lifetime is not None:
            return "lifetime= is for classes; a function has no instance that could live"
        if options.on_failure != "resume":
            return 'on_failure= is for actors, classes registered with lifetime="actor"'
        if options.in_thread and called.is_async:
            return (
                "in_thread=True is for synchronous handlers; an asynchronous one runs on the loop"
            )
        if options.timeout and not called.is_async and not options.in_thread:
            return (
                "timeout= is for asynchronous handlers; make it asynchronous, or register it with "
                "in_thread=True"
            )
        return None

    def _context_flaw(self, called: Called) -> tuple[str, Parameter | None] | None:
        """Return a parameter that looks as if it took the context, and does not."""
        for each in called.parameters[1:]:
            found = None if each.type is None or each.has_default else self._context_in(each.type)
            if found is None or (
                found is each.type and not self._annotation(called, each).is_annotated
            ):
                continue
            if self._annotation(called, each).use is None:
                context = show(self._view.checker, found)
                return (
                    f"parameter `{each.name}` does not take the context: only `{each.name}: "
                    f"{context}` does, with nothing around it; a message always has one"
                ), each
        return None

    def _annotation(self, called: Called, parameter: Parameter) -> Annotation:
        if called.written is None or parameter.written is None:
            return PLAIN
        return self._annotations.of(parameter.written.type_annotation, called.written)

    def _context_in(self, typ: Type) -> ProperType | None:
        """Return the context class in an annotation, if there is one."""
        found = get_proper_type(typ)
        inner: list[Type] = [found]
        if isinstance(found, UnionType):
            inner = found.items
        elif isinstance(found, TypeType):
            inner = [found.item]
        return next((get_proper_type(each) for each in inner if is_context(each)), None)

    def _guard_flaw(self, called: Called) -> tuple[str, Parameter | None] | None:
        parameters = called.parameters
        required = [each for each in parameters if not each.has_default]
        if (
            len(parameters) < 3
            or len(required) > 3
            or not all(each.kind.is_positional() for each in required)
        ):
            return (
                f"a guard takes three parameters, as in `async def {called.name}(message, ctx, "
                f"proceed)`, not {len(required)}"
            ), None
        given = parameters[1].type
        if given is None or is_context(given):
            return None
        return self._wrong_context(parameters[1], given)

    def _wrong_context(
        self, parameter: Parameter, typ: Type
    ) -> tuple[str, Parameter | None] | None:
        found = get_proper_type(typ)
        module = self._view.checker.modules.get(CONTEXT.rpartition(".")[0])
        symbol = None if module is None else module.names.get(CONTEXT.rpartition(".")[2])
        context = None if symbol is None else symbol.node
        if not isinstance(context, TypeInfo) or isinstance(found, (AnyType, TypeVarType)):
            return None
        if is_subtype(Instance(context, []), found):
            return None
        return (
            f"parameter `{parameter.name}` is annotated {show(self._view.checker, found)}, but a "
            f"guard is given the context there, as in `{parameter.name}: MessageContext`"
        ), parameter


def is_context(typ: Type) -> bool:
    """Say whether a type is a class of contexts."""
    found = get_proper_type(typ)
    return isinstance(found, Instance) and found.type.has_base(CONTEXT)


def is_unknown_context(parameter: Parameter) -> bool:
    """Say whether a second parameter takes the context because it says nothing."""
    if parameter.type is None:
        return not parameter.has_default
    found = get_proper_type(parameter.type)
    explicit = isinstance(found, AnyType) and found.type_of_any == TypeOfAny.explicit
    return explicit and not parameter.has_default


def is_data(var: Var) -> bool:
    """Say whether a name of a class is certainly no function."""
    found = None if var.type is None else get_proper_type(var.type)
    return found is not None and not isinstance(found, (AnyType, CallableType))
