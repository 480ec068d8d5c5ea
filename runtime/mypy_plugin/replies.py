"""`bus-reply-type`: a command's handler returns its reply, an event's handler returns nothing."""

from __future__ import annotations

from mypy.maptype import map_instance_to_supertype
from mypy.nodes import Context
from mypy.subtypes import is_subtype
from mypy.typeops import make_simplified_union
from mypy.types import (
    AnyType,
    Instance,
    NoneType,
    ProperType,
    UninhabitedType,
    UnionType,
    get_proper_type,
    has_type_vars,
)

from runtime.mypy_plugin.bases import COMMAND, message_types
from runtime.mypy_plugin.callables import Called
from runtime.mypy_plugin.findings import REPLY_TYPE, any_of, report, show
from runtime.mypy_plugin.modules import ModuleView

__all__ = ("check_reply", "supertype")

AWAITABLE = "typing.Awaitable"


def check_reply(view: ModuleView, called: Called, site: Context) -> None:
    """Report a result that is not what the message is replied to with."""
    first = called.parameters[0].type if called.parameters else None
    items = None if first is None else message_types(first)
    result = result_of(called)
    if items is None or result is None or isinstance(result, (AnyType, UninhabitedType)):
        return
    replies: list[ProperType] = []
    commands: list[Instance] = []
    for each in items:
        if not isinstance(each, Instance):
            return
        base = supertype(each, COMMAND)
        if base is None:
            replies.append(NoneType())
        else:
            commands.append(each)
            replies.append(get_proper_type(base.args[0]))
    if not commands and isinstance(result, NoneType):
        return
    if has_type_vars(result) or any(
        isinstance(each, AnyType) or has_type_vars(each) for each in replies
    ):
        return
    if not commands:
        text = (
            f"{called.name}: returns {show(view.checker, result)}, which nobody gets: an event's "
            f"handler returns None; emit the result as an event, or make the event a command"
        )
        report(view.checker, text, called.at_result(site), REPLY_TYPE)
    elif not is_subtype(result, make_simplified_union(replies), options=view.checker.options):
        names = any_of([each.type.name for each in commands])
        wanted = any_of([show(view.checker, each) for each in replies])
        given = show(view.checker, result)
        text = (
            f"{called.name}: returns {given}, but the reply to {names} is {wanted}; return that, "
            f"or change the `Command[...]` that {names} derives from"
        )
        report(view.checker, text, called.at_result(site), REPLY_TYPE)


def result_of(called: Called) -> ProperType | None:
    """Return what a handler's caller gets; None if it does not say."""
    if called.result is None:
        return None
    result = get_proper_type(called.result if called.decorated is None else called.decorated)
    if called.is_async and called.decorated is None and isinstance(result, Instance):
        # What an `async def` gives is a coroutine, and its result the last argument of that.
        return get_proper_type(result.args[-1])
    if isinstance(result, UnionType):
        return make_simplified_union([awaited(get_proper_type(each)) for each in result.items])
    return awaited(result)


def awaited(typ: ProperType) -> ProperType:
    """Return what something gives that the runtime awaits if it can."""
    found = supertype(typ, AWAITABLE) if isinstance(typ, Instance) else None
    return typ if found is None else get_proper_type(found.args[0])


def supertype(instance: Instance, fullname: str) -> Instance | None:
    """Return an instance as one of a class that it derives from."""
    if not instance.type.has_base(fullname):
        return None
    info = next((each for each in instance.type.mro if each.fullname == fullname), None)
    return None if info is None else map_instance_to_supertype(instance, info)
