"""Registries to a frozen dispatch table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from runtime._dispatch import Handler, Plan, Table
from runtime._tally import HandlerTally, TypeTally
from runtime.findings import Finding, failure
from runtime.lifetimes import Wiring
from runtime.messages import Command, DeadLetter
from runtime.policies import MailboxPolicies
from runtime.publishers import Publisher
from runtime.registry import MessageRegistry
from runtime.signature import GuardSpec, HandlerSpec, written
from runtime.unrolled import Run, unrolled
from runtime.wired import WiredHandler

__all__ = ("Plans",)


class Registered(msgspec.Struct, frozen=True):
    """A handler as it was written, as it was wired, and as the core runs it."""

    spec: HandlerSpec
    wired: WiredHandler
    handler: Handler


class Shared(msgspec.Struct, frozen=True):
    """What all message types have in common that the same handlers hear."""

    handlers: tuple[Handler, ...]
    unrolled: Run | None

    @classmethod
    def of(cls, handlers: Sequence[Handler]) -> Shared:
        """Share some handlers."""
        is_awaited = all(each.is_async for each in handlers)
        calls = tuple(each.call for each in handlers) if is_awaited else ()
        return cls(tuple(handlers), unrolled(calls))


class Plans:
    """Everything that is registered, wired together; a value that includes and overrides copy.

    `publisher` runs the handlers of events, unless it is None: then the core does, in sequence.
    `policies` bound the mailboxes; `tallies` count their messages, by type.
    """

    def __init__(
        self,
        wiring: Wiring,
        publisher: Publisher | None,
        policies: MailboxPolicies,
        registered: tuple[Registered, ...] = (),
        guards: tuple[GuardSpec, ...] = (),
        tallies: dict[type, TypeTally] | None = None,
    ) -> None:
        self.wiring = wiring
        self.publisher = publisher
        self.policies = policies
        self.registered = registered
        self.guards = guards
        self.tallies: dict[type, TypeTally] = {} if tallies is None else tallies
        self._heard: dict[type, list[int]] = {}
        for number, each in enumerate(registered):
            for key in each.spec.keys:
                self._heard.setdefault(key, []).append(number)
        self._shared: dict[tuple[int, ...], Shared] = {}
        self._has_exits = any(each.wired.manages for each in registered)

    def including(self, registries: Iterable[MessageRegistry[object]]) -> Plans:
        """Return these plans with what more registries hold, each handler and guard once.

        Raises `ProviderError`, `LifetimeError` or `DuplicateHandler` listing everything that is
        wrong; nothing of these plans has changed then.
        """
        plans, findings = self.joined(registries)
        if findings:
            raise failure(findings)
        return plans

    def joined(
        self, registries: Iterable[MessageRegistry[object]]
    ) -> tuple[Plans, tuple[Finding, ...]]:
        """Return what `including` does, and everything that is wrong with it.

        Plans with a finding must not run: something else stands in for what is missing.
        """
        registries = tuple(registries)
        wiring = self.wiring.extended([each for r in registries for each in r.factories])
        # Each function once, however often it was registered: the first time counts.
        known = {each.spec.identity for each in self.registered}
        new: dict[object, HandlerSpec] = {}
        for each in (each for r in registries for each in r.handlers):
            if each.identity not in known:
                new.setdefault(each.identity, each)
        guards = dict.fromkeys((*self.guards, *(each for r in registries for each in r.guards)))
        registered = (*self.registered, *(wire(wiring, each) for each in new.values()))
        found = wiring.take_findings()
        plans = Plans(
            wiring, self.publisher, self.policies, registered, tuple(guards), self.tallies
        )
        return plans, (*found, *plans.duplicates())

    def overriding(self, overrides: Mapping[object, object]) -> Plans:
        """Return these plans wired anew, with some types served by other values or factories.

        Raises `ProviderError` or `LifetimeError` listing everything that is wrong.
        """
        wiring = self.wiring.overridden(overrides)
        registered = tuple(wire(wiring, each.spec, each.handler.tally) for each in self.registered)
        wiring.check()
        return Plans(wiring, self.publisher, self.policies, registered, self.guards, self.tallies)

    def table(self) -> Table:
        """Return the dispatch table of every message class that is known by now.

        A class first seen later is flattened when it is first sent.
        """
        known = {each: self.flatten(each) for each in with_subclasses(self._heard)}
        return Table(known, self.flatten)

    @property
    def heard(self) -> Collection[type]:
        """The classes that handlers are registered for."""
        return self._heard.keys()

    def flatten(self, message_type: type) -> Plan:
        """Return the plan of a message class: what hears any class in its MRO."""
        order = tuple(self.heard_by(message_type))
        shared = self._shared.get(order)
        if shared is None:
            shared = self._shared[order] = Shared.of([self.registered[n].handler for n in order])
        field, owner = key_of(message_type)
        is_event = not issubclass(message_type, (Command, DeadLetter))
        policy = self.policies.of(message_type)
        return Plan(
            shared.handlers,
            guards=self.guards_of(message_type),
            publisher=self.publisher if is_event else None,
            key_field=field,
            key_owner=owner,
            capacity=policy.capacity,
            overflow=policy.overflow,
            has_exits=self._has_exits,
            unrolled=shared.unrolled,
            tally=self.tally_of(message_type),
        )

    def of_one(self, message_type: type, wanted: HandlerSpec) -> Plan | None:
        """Return the plan of a message class for one of its handlers; None if that is not there.

        The handler runs by itself: no publisher is asked.
        """
        for each in self.registered:
            if each.spec.identity == wanted.identity:
                policy = self.policies.of(message_type)
                return Plan(
                    (each.handler,),
                    guards=self.guards_of(message_type),
                    capacity=policy.capacity,
                    overflow=policy.overflow,
                    tally=self.tally_of(message_type),
                )
        return None

    def tally_of(self, message_type: type) -> TypeTally:
        """Return what counts the messages of a class, under every plan."""
        return self.tallies.setdefault(message_type, TypeTally())

    def heard_by(self, message_type: type) -> list[int]:
        """Return the numbers of what hears a message, in order.

        A command has the handler of its nearest class; a dead letter those that name it.
        """
        if issubclass(message_type, Command):
            for base in message_type.mro():
                if base in self._heard:
                    return self._heard[base]
            return []
        bases = message_type.__mro__
        if issubclass(message_type, DeadLetter):
            bases = tuple(base for base in bases if issubclass(base, DeadLetter))
        return sorted({n for base in bases for n in self._heard.get(base, ())})

    def guards_of(self, message_type: type) -> tuple[GuardSpec, ...]:
        """Return the guards around a message's handlers, outermost first."""
        if not self.guards:
            return ()
        return tuple(each for each in self.guards if issubclass(message_type, each.keys))

    def duplicates(self) -> list[Finding]:
        """Return a finding for every command with more than one handler."""
        return [
            two_handlers(
                f"{key.__module__}.{key.__qualname__}", [self.registered[n].spec for n in numbers]
            )
            for key, numbers in self._heard.items()
            if len(numbers) > 1 and issubclass(key, Command)
        ]


def wire(wiring: Wiring, spec: HandlerSpec, tally: HandlerTally | None = None) -> Registered:
    """Wire a handler for the core; one that is wired anew goes on with its tally."""
    wired = wiring.handler(spec)
    handler = Handler(
        spec,
        wired.call,
        is_async=wired.is_async,
        needs_scope=wired.needs_scope,
        wants_context=wired.wants_context,
        actor=wired.actor,
        waits=wired.waits,
        manages=wired.manages,
        hands=wired.hands,
        own_task=spec.own_task,
        limited=spec.timeout is not None or spec.retry is not None,
        supervised=wired.actor is not None and spec.on_failure != "resume",
        tally=tally,
    )
    return Registered(spec, wired, handler)


def two_handlers(name: str, specs: Sequence[HandlerSpec]) -> Finding:
    """Say that a command has more than one handler; the last of them is the one too many."""
    what = f"has {len(specs)} handlers, but a command has one"
    listed = ", ".join(f"{each.name} ({each.location})" for each in specs)
    return Finding(
        "bus-duplicate-handler",
        name,
        f"{name} {what}: {listed}",
        f"{what}: {', '.join(each.name for each in specs)}",
        "remove all but one",
        places=tuple(written(each.function) for each in specs),
    )


def key_of(message_type: type) -> tuple[str | None, type | None]:
    """Return the field that a message's mailbox is chosen by, and the class that names it."""
    if not hasattr(message_type, "__key__"):
        return None, None
    for base in message_type.__mro__:
        field = vars(base).get("__key__")
        if isinstance(field, str):
            return field, base
        if field is not None:
            name = f"{base.__module__}.{base.__qualname__}"
            what = f"`__key__` must be the name of a field, not {field!r}"
            places = (written(base, "__key__"),)
            raise failure(
                [Finding("bus-handler-signature", name, f"{name}: {what}", what, places=places)]
            )
    return None, None


def with_subclasses(classes: Iterable[type]) -> set[type]:
    """Return the classes and everything derived from them so far.

    `object` stands for itself: whatever derives from it is flattened on first sight.
    """
    found: set[type] = set()
    rest = list(classes)
    while rest:
        each = rest.pop()
        if each not in found:
            found.add(each)
            if each is not object:
                rest += type.__subclasses__(each)
    return found
