"""`explain` says what would happen, as data and as text."""

from typing import Annotated, Any, ClassVar

from runtime import (
    BusTerminal,
    Command,
    Event,
    EventBus,
    MailboxPolicy,
    MessageContext,
    MessageRegistry,
    Retry,
    isolated,
    use,
)


class Ping(Event):
    __key__: ClassVar[str] = "number"
    number: int = 0


class LoudPing(Ping):
    pass


class Get(Command[str]):
    pass


class Clock:
    pass


class Session:
    def __init__(self, clock: Clock) -> None: ...


async def first(
    event: Ping,
    ctx: MessageContext,
    session: Session,
    bus: EventBus[Event],
    limit: int = 3,
    *,
    clock: Annotated[Clock, use(Clock, lifetime="transient")],
) -> None: ...


def second(event: Ping | Get) -> None: ...


async def watch(event: Ping, ctx: Any, proceed: Any) -> None: ...


class Actor:
    async def loud(self, event: LoudPing) -> None: ...


def terminal() -> BusTerminal[Event]:
    registry = MessageRegistry(event_base=Event)
    registry.factory(Clock, lifetime="singleton")
    registry.register(first)
    registry.register(second, in_thread=True)
    registry.register(Actor, lifetime="actor")
    registry.guard(watch)
    return BusTerminal(registry, publisher=isolated)


def test_explain_is_data() -> None:
    """Handlers in their order, with where they are, how they run, and what they are given."""
    explanation = terminal().explain(LoudPing)
    assert explanation.message == f"{__name__}.LoudPing"
    assert (explanation.kind, explanation.publisher) == ("event", "isolated")
    assert explanation.key == "Ping.number"
    assert explanation.mailbox == MailboxPolicy()
    assert [each.partition(" ")[0] for each in explanation.guards] == [f"{__name__}.watch"]
    one, two, three = explanation.handlers
    assert [each.name for each in (one, two, three)] == [
        f"{__name__}.first",
        f"{__name__}.second",
        f"{__name__}.Actor.loud",
    ]
    assert [each.runs for each in (one, two, three)] == [
        "is awaited",
        "runs in a thread",
        "runs in its actor's mailbox",
    ]
    assert two.hears == ("Ping", "Get")
    assert [(each.parameter, each.source) for each in one.dependencies] == [
        ("event", "the message"),
        ("ctx", "the context"),
        ("session", "Session (scoped)"),
        ("bus", "the bus"),
        ("limit", "the default 3"),
        ("clock", "Clock (transient)"),
    ]
    assert [each.source for each in one.dependencies[2].dependencies] == ["Clock (singleton)"]
    assert one.location.startswith(f"{__file__}:")


def test_explain_is_a_page_to_read() -> None:
    """The text has a line for each fact, in the order of the run."""
    text = str(terminal().explain(Ping))
    lines = [line.replace(f"{__name__}.", "").partition(" (/")[0] for line in text.splitlines()]
    assert lines == [
        "Ping: event, 2 handlers",
        "  publisher: isolated",
        "  mailbox: by Ping.number, 1,024 messages, then reject",
        "  guard: watch",
        "  1. first",
        "     hears Ping; is awaited",
        "     event: the message",
        "     ctx: the context",
        "     session: Session (scoped)",
        "       clock: Clock (singleton)",
        "     bus: the bus",
        "     limit: the default 3",
        "     clock: Clock (transient)",
        "  2. second",
        "     hears Ping, Get; runs in a thread",
        "     event: the message",
    ]


def test_explain_a_command_and_a_stranger() -> None:
    """A command has its one handler and no publisher; what nobody hears has none."""
    explanation = terminal().explain(Get)
    assert (explanation.kind, len(explanation.handlers)) == ("command", 1)
    assert str(explanation).splitlines()[0].endswith("Get: command, 1 handler")
    assert "publisher" not in str(explanation)
    assert terminal().explain(int).handlers == ()


def test_explain_a_task_of_its_own() -> None:
    """A handler that wants one says so."""
    registry = MessageRegistry(event_base=Event)
    registry.register(first, own_task=True)
    (handler,) = BusTerminal(registry).explain(Ping).handlers
    assert handler.runs == "is awaited, in a task of its own when emitted"


def test_timeouts_and_retries_are_said() -> None:
    """As data for each handler, and in a line of their own."""
    registry = MessageRegistry(event_base=Event)
    retry = Retry(attempts=3, backoff=0.5, on=(OSError, ValueError))
    registry.register(first, timeout=2.5, retry=retry)
    registry.register(second, in_thread=True, retry=Retry(jitter=False))
    registry.factory(Clock, lifetime="singleton")
    explanation = BusTerminal(registry).explain(Ping)
    one, two = explanation.handlers
    assert (one.timeout, one.retry, two.timeout) == (2.5, retry, None)
    lines = [each.strip() for each in str(explanation).splitlines()]
    assert [each for each in lines if each.startswith("timeout")] == ["timeout: 2.5 s"]
    first_retry, second_retry = (each for each in lines if each.startswith("retry"))
    assert first_retry == (
        "retry: up to 3 attempts when emitted, on OSError, ValueError; "
        "pauses from 0.5 s, doubled up to 5 s, and up to twice that"
    )
    assert second_retry == (
        "retry: up to 4 attempts when emitted, on Exception; pauses from 0.05 s, doubled up to 5 s"
    )


def test_explain_the_rule_of_a_mailbox() -> None:
    """The nearest class that has a policy has it, with a key or without."""
    policy = MailboxPolicy(10, "drop_oldest")
    terminal = BusTerminal(MessageRegistry(event_base=Event), mailbox={Ping: policy})
    assert terminal.explain(LoudPing).mailbox == policy
    assert "mailbox: by Ping.number, 10 messages, then drop_oldest" in str(
        terminal.explain(LoudPing)
    )
    assert "  mailbox: 1,024 messages, then reject" in str(terminal.explain(Get)).splitlines()
