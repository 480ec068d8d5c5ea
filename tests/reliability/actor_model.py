"""What a terminal does with actors: the oracle of their state machine.

Each mailbox lives as a generator, which yields what it waits for.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

from runtime.signature import OnFailure

T = TypeVar("T")

IDLE_SECONDS = 3.50001
BACKOFF = 0.878
RESTARTS = 5
RESTART_SECONDS = 5.0


@dataclass(frozen=True)
class Rule:
    """How a class of actors is registered, and how long its start and its stop take."""

    on_failure: OnFailure
    timeout: float | None
    attempts: int
    start_seconds: float
    stop_seconds: float


@dataclass(eq=False)
class Message:
    """A message, what its handler will do with it, and what has become of it.

    `gives_up` is when its caller does. `answer` is what the caller has got.
    """

    number: int
    verb: str
    rule: Rule
    failures: int
    held: bool
    expires: float | None = None
    gives_up: float | None = None
    fate: str = "pending"
    answer: object = "pending"
    begun: bool = False
    attempts: int = 0

    def __post_init__(self) -> None:
        # A publish or a send to an actor is in no ledger, and tried once.
        self.is_counted = self.verb in ("emit", "ask")
        self.is_command = self.verb in ("ask", "send")


@dataclass(eq=False)
class Box:
    """A mailbox: what is queued and running, and until when, or until what, it waits.

    `alive` has the number of each instance, and how much that has handled.
    """

    key: str
    queue: list[Message] = field(default_factory=list[Message])
    running: Message | None = None
    alive: dict[Rule, tuple[int, int]] = field(default_factory=dict[Rule, tuple[int, int]])
    due: float | None = None
    is_ready: Callable[[], bool] = lambda: True


def never() -> bool:
    """Stand for what only time ends."""
    return False


Steps = Generator[tuple[float | None, Callable[[], bool]], None, T]


class Model:
    """A terminal at rest: between two calls nothing is left that could be done."""

    def __init__(self, keys: list[str]) -> None:
        self.now = 0.0
        self.boxes = [Box(key) for key in keys]
        self.lives = [self.live(box) for box in self.boxes]
        self.messages: list[Message] = []
        self.letters: Counter[tuple[int, str, int]] = Counter()
        self.log: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.made: Counter[tuple[str, Rule]] = Counter()
        self.stopped: set[tuple[str, Rule]] = set()
        self.failed_at: defaultdict[tuple[str, Rule], list[float]] = defaultdict(list)
        self.broken = "nothing"

    # What is done to it

    def put(self, key: str, message: Message) -> None:
        """Queue a message; what somebody waits for is not taken by an actor that is stopped."""
        self.messages.append(message)
        if message.verb != "emit" and (key, message.rule) in self.stopped:
            message.fate, message.answer, message.is_counted = "refused", "TerminalClosed", False
        else:
            next(box for box in self.boxes if box.key == key).queue.append(message)
        self.settle()

    def give_up(self, message: Message, answer: str) -> None:
        """Let a caller wait no more: what has not begun never will."""
        message.answer = answer
        if not message.begun:
            message.fate = "withdrawn"

    def release(self, message: Message) -> None:
        """Let a handler that is held go on."""
        message.held = False
        self.settle()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.now < until:
            asks = [each for each in self.messages if each.gives_up and each.answer == "pending"]
            dues = [box.due for box in self.boxes] + [each.gives_up for each in asks]
            self.now = min([until, *(each for each in dues if each is not None)])
            for message in asks:
                if message.gives_up is not None and message.gives_up <= self.now:
                    self.give_up(message, "AskTimeout")
            self.settle()

    def close(self) -> None:
        """Cut off what runs, reject the rest, and stop the actors that are there."""
        for box in self.boxes:
            box.due, box.is_ready = None, never
            if box.running is not None:
                self.end(box.running, "TerminalClosed")
                box.running = None
            for message in box.queue:
                if message.fate == "withdrawn":
                    message.fate = "expired"
                    continue
                message.fate, message.answer = "rejected", "TerminalClosed"
                if message.verb == "emit":
                    self.letters[message.number, "closed", 0] += 1
            for rule in list(box.alive):
                list(self.stop(box, rule))

    # What it does by itself

    def settle(self) -> None:
        """Do what can be done at this moment."""
        for box, life in zip(self.boxes, self.lives, strict=True):
            while box.is_ready() or (box.due is not None and box.due <= self.now):
                box.due, box.is_ready = next(life)

    def live(self, box: Box) -> Steps[None]:
        """Handle what comes to a mailbox in turn; stop its actors when it has long been idle."""
        while True:
            if box.queue:
                yield from self.take(box, box.queue.pop(0))
                continue
            yield self.now + IDLE_SECONDS if box.alive else None, lambda: bool(box.queue)
            if not box.queue:
                for rule in reversed(list(box.alive)):
                    yield from self.stop(box, rule)

    def take(self, box: Box, message: Message) -> Steps[None]:
        """Handle a message, unless it is too late for that."""
        if message.fate == "withdrawn":
            message.fate = "expired"
        elif message.expires is not None and self.now >= message.expires:
            message.fate = "expired"
            self.letters[message.number, "expired", 0] += 1
        else:
            message.begun, box.running = True, message
            error = yield from self.handle(box, message)
            box.running = None
            self.end(message, error, reply=box.alive.get(message.rule, (0, 0))[1])

    def end(self, message: Message, error: str | None, reply: int = 0) -> None:
        """Say how a message that has begun has ended: to its caller, or in a dead letter."""
        message.fate = "failed" if error else "handled"
        if message.verb == "emit" and error:
            reason = {"HandlerTimeout": "timeout", "TerminalClosed": "closed"}.get(error, "failed")
            self.letters[message.number, reason, message.attempts] += 1
        elif message.answer == "pending":
            message.answer = error or (reply if message.is_command else None)
        elif message.verb == "ask":
            self.letters[message.number, "late_reply", message.attempts] += 1

    def handle(self, box: Box, message: Message) -> Steps[str | None]:
        """Attempt a message as often as its rule says; what fails in the end ends its actor."""
        rule = message.rule
        if (box.key, rule) in self.stopped:
            return "TerminalClosed"
        error = yield from self.attempt(box, message)
        while error and message.is_counted and message.attempts < rule.attempts:
            yield self.now + BACKOFF, never
            error = yield from self.attempt(box, message)
        is_reply = message.is_command and rule in box.alive
        if error and rule.on_failure != "resume" and not is_reply:
            yield from self.fail(box, rule)
        return error

    def attempt(self, box: Box, message: Message) -> Steps[str | None]:
        """Let an actor handle a message, after its start if there is none; return the error."""
        rule, name = message.rule, (box.key, message.rule.on_failure)
        message.attempts += 1
        if rule not in box.alive:
            self.made[box.key, rule] += 1
            number = self.made[box.key, rule]
            self.log[name].append(f"{number} starts")
            yield self.now + rule.start_seconds, never
            if self.broken == "start":
                return "Boom"
            box.alive[rule] = number, 0
        number, handled = box.alive[rule]
        self.log[name].append(f"{number} begins {message.number}")
        if message.held:
            yield self.now + rule.timeout if rule.timeout else None, lambda: not message.held
            if message.held:
                return "HandlerTimeout"
        if message.failures > 0:
            message.failures -= 1
            return "Boom"
        box.alive[rule] = number, handled + 1
        self.log[name].append(f"{number} ends {message.number}, its {handled + 1}.")
        return None

    def fail(self, box: Box, rule: Rule) -> Steps[None]:
        """End an actor that has failed; who waits for it is told first."""
        actor = box.key, rule
        lately = [each for each in self.failed_at[actor] if self.now - each <= RESTART_SECONDS]
        self.failed_at[actor] = [*lately, self.now]
        refusal = "ActorRestarting"
        if rule.on_failure == "stop" or len(lately) == RESTARTS:
            self.stopped.add(actor)
            refusal = "TerminalClosed"
        for each in list(box.queue):
            if each.rule == rule and each.verb != "emit" and each.answer == "pending":
                box.queue.remove(each)
                each.fate, each.answer = "failed", refusal
        if rule in box.alive:
            yield from self.stop(box, rule)

    def stop(self, box: Box, rule: Rule) -> Steps[None]:
        """Stop an actor; whether that goes well makes no difference to others."""
        number, _ = box.alive.pop(rule)
        self.log[box.key, rule.on_failure].append(f"{number} stops")
        yield self.now + rule.stop_seconds, never
        self.log[box.key, rule.on_failure].append(f"{number} has stopped")
