"""What a terminal would do with a message, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtime.messages import Command
from runtime.plan import Plans, key_of
from runtime.policies import MailboxPolicy, Retry
from runtime.signature import OnFailure
from runtime.wired import Wired

__all__ = ("Dependency", "ExplainedHandler", "Explanation", "explain")


@dataclass(frozen=True, slots=True)
class Dependency:
    """What serves one parameter, and what serves the parameters of that."""

    parameter: str
    source: str
    dependencies: tuple[Dependency, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedHandler:
    """One handler: where it is written, and how it is called."""

    name: str
    location: str
    hears: tuple[str, ...]
    """The classes that its first parameter is annotated with."""
    runs: str
    """How it runs: on the loop, awaited or called, in a thread, or in an actor's mailbox."""
    dependencies: tuple[Dependency, ...]
    timeout: float | None = None
    """Seconds that a call may take."""
    retry: Retry | None = None
    """How often it is tried when it comes from a mailbox; None is once."""
    on_failure: OnFailure | None = None
    """What becomes of its actor when it fails; None if it has none."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The plan of one message class. Its `str` is a page for a person to read."""

    message: str
    kind: str
    publisher: str
    key: str | None
    """The field that chooses the mailbox, and the class that names it."""
    mailbox: MailboxPolicy
    """How many messages may be queued when one of these comes, and what happens otherwise."""
    guards: tuple[str, ...]
    """Outermost first."""
    handlers: tuple[ExplainedHandler, ...]
    """In the order in which they run."""

    def __str__(self) -> str:
        """Write the plan down, a line for each fact."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        count = len(self.handlers)
        yield f"{self.message}: {self.kind}, {count} handler{'' if count == 1 else 's'}"
        if self.kind == "event":
            yield f"  publisher: {self.publisher}"
        rule = f"{self.mailbox.capacity:,} messages, then {self.mailbox.overflow}"
        yield f"  mailbox: {rule}" if self.key is None else f"  mailbox: by {self.key}, {rule}"
        for guard in self.guards:
            yield f"  guard: {guard}"
        for number, handler in enumerate(self.handlers, 1):
            yield f"  {number}. {handler.name} ({handler.location})"
            yield f"     hears {', '.join(handler.hears)}; {handler.runs}"
            if handler.timeout is not None:
                yield f"     timeout: {handler.timeout:g} s"
            if handler.retry is not None:
                yield f"     retry: {describe(handler.retry)}"
            if handler.on_failure is not None:
                yield f"     on failure: {handler.on_failure} the actor"
            for dependency in handler.dependencies:
                yield from tree(dependency, 5)


def tree(dependency: Dependency, indent: int) -> Iterator[str]:
    """Write a dependency and what is below it."""
    yield f"{' ' * indent}{dependency.parameter}: {dependency.source}"
    for each in dependency.dependencies:
        yield from tree(each, indent + 2)


def describe(retry: Retry) -> str:
    """Write down how often a handler is tried."""
    kinds = ", ".join(each.__qualname__ for each in retry.on)
    jitter = ", and up to twice that" if retry.jitter else ""
    return (
        f"up to {retry.attempts} attempts when emitted, on {kinds}; pauses from "
        f"{min(retry.backoff, retry.max_backoff):g} s, doubled up to {retry.max_backoff:g} s"
        f"{jitter}"
    )


def explain(plans: Plans, message_type: type) -> Explanation:
    """Return what happens to messages of a class."""
    field, owner = key_of(message_type)
    policy = plans.policies.of(message_type)
    handlers: list[ExplainedHandler] = []
    for number in plans.heard_by(message_type):
        spec, wired = plans.registered[number].spec, plans.registered[number].wired
        if wired.actor is not None:
            runs = "runs in its actor's mailbox"
        elif spec.in_thread:
            runs = "runs in a thread"
        else:
            runs = "is awaited" if spec.is_async else "is called"
        if spec.own_task:
            runs += ", in a task of its own when emitted"
        handlers.append(
            ExplainedHandler(
                spec.name,
                spec.location,
                tuple(key.__qualname__ for key in spec.keys),
                runs,
                tuple(dependency(name, each) for name, each in wired.arguments),
                spec.timeout,
                spec.retry,
                spec.on_failure if wired.actor is not None else None,
            )
        )
    publisher = plans.publisher
    guards = plans.guards_of(message_type)
    return Explanation(
        message=f"{message_type.__module__}.{message_type.__qualname__}",
        kind="command" if issubclass(message_type, Command) else "event",
        publisher="sequential" if publisher is None else getattr(publisher, "__name__", "custom"),
        key=None if owner is None else f"{owner.__qualname__}.{field}",
        mailbox=policy,
        guards=tuple(f"{each.name} ({each.location})" for each in guards),
        handlers=tuple(handlers),
    )


def dependency(parameter: str, wired: Wired) -> Dependency:
    """Return a dependency with everything below it."""
    inner = tuple(dependency(name, each) for name, each in wired.inner)
    return Dependency(parameter, wired.text, inner)
