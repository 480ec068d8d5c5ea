"""H4: actors of a terminal and a model of them, taken through the same random steps, agree."""

import asyncio
import os
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from reliability.actor_model import BACKOFF, IDLE_SECONDS, Message, Model, Rule
from reliability.support import Boom, assert_ledger

from runtime import BusTerminal, Command, Delivery, Event, MessageRegistry, Retry
from runtime.errors import TerminalClosed
from runtime.signature import OnFailure
from runtime.testing import SimulatedLoop

STRESS = bool(os.environ.get("RUNTIME_STRESS"))
PARTS = 10 if STRESS else 1
EXAMPLES = 200 if STRESS else 80
# A failure is made smaller only where there is time for that.
PHASES = [each for each in Phase if STRESS or each is not Phase.shrink]


class Told(Event):
    """What actors hear: one subclass for those of each rule."""

    number: int


class Asked(Command[int]):
    """What actors are asked, likewise."""

    number: int


class ToldResuming(Told): ...


class ToldRestarting(Told): ...


class ToldStopping(Told): ...


class AskedResuming(Asked): ...


class AskedRestarting(Asked): ...


class AskedStopping(Asked): ...


TYPES: dict[OnFailure, tuple[type[Told], type[Asked]]] = {
    "resume": (ToldResuming, AskedResuming),
    "restart": (ToldRestarting, AskedRestarting),
    "stop": (ToldStopping, AskedStopping),
}
KEYS = ["red", "blue"]

# Two moments of one mailbox never coincide: which is first then is not promised.
WAITS = st.sampled_from([0.875, 2.625])
TIMEOUTS = st.sampled_from([0.4, 3.4])
RULES = {
    on_failure: st.builds(
        Rule,
        on_failure=st.just(on_failure),
        timeout=st.sampled_from([None, 1.76, 1.76]),
        attempts=st.sampled_from([1, 2]),
        start_seconds=st.sampled_from([0.0, 0.8757]),
        stop_seconds=st.sampled_from([0.0, 0.87511]),
    )
    for on_failure in TYPES
}
ON_FAILURE = st.sampled_from(list(TYPES))
WHERE = st.sampled_from(KEYS)
VERBS = st.sampled_from(["emit", "ask", "publish", "send"])
FAILURES = st.sampled_from([0, 0, 0, 0, 1, 9])
BROKEN = st.sampled_from(["nothing", "nothing", "nothing", "start", "stop"])
TTLS = st.sampled_from([None, None, 1.2])
HELD = st.booleans()

LOGS = [
    "failed to handle",
    "was not handled",
    "nobody waits for the reply",
    "more times within a minute",
    "is stopped, ",
    "could not be (stopped|left|closed) well",
    "messages undelivered",
    "with 2 scopes open",
    "cut off while they stopped",
]


def make_actor(machine: "Machine", on_failure: OnFailure) -> type:
    """Return a class of actors that do what a machine says, and note what they do."""

    class Actor:
        """An actor that counts what it has handled."""

        async def __aenter__(self) -> None:
            # Private: the task that starts an actor knows for which mailbox it does.
            task: Any = asyncio.current_task()
            self._name = task.home.box.name, on_failure
            self._handled = 0
            machine.made[self._name] += 1
            self._number = machine.made[self._name]
            self._note("starts")
            machine.alive[self._name] += 1
            machine.most_alive = max(machine.most_alive, machine.alive[self._name])
            try:
                await pause(machine.actor_rules[on_failure].start_seconds)
                if machine.broken == "start":
                    raise Boom
            except BaseException:
                machine.alive[self._name] -= 1
                raise

        async def __aexit__(self, *error: object) -> None:
            self._note("stops")
            try:
                await pause(machine.actor_rules[on_failure].stop_seconds)
                self._note("has stopped")
                if machine.broken == "stop":
                    raise Boom
            finally:
                machine.alive[self._name] -= 1

        async def hear(self, event: Told) -> None:
            await self._handle(event.number)

        async def answer(self, command: Asked) -> int:
            await self._handle(command.number)
            return self._handled

        async def _handle(self, number: int) -> None:
            self._note(f"begins {number}")
            if number in machine.gates:
                await machine.gates[number].wait()
            if machine.failures[number] > 0:
                machine.failures[number] -= 1
                raise Boom
            self._handled += 1
            self._note(f"ends {number}, its {self._handled}.")

        def _note(self, text: str) -> None:
            machine.log[self._name].append(f"{self._number} {text}")

    Actor.hear.__annotations__["event"], Actor.answer.__annotations__["command"] = TYPES[on_failure]
    return Actor


async def pause(seconds: float) -> None:
    """Let time pass, if any is to."""
    if seconds:
        await asyncio.sleep(seconds)


def outcome_of(task: "asyncio.Task[Any]") -> object:
    """Return what the caller of a verb that waits has got, in the model's words."""
    if not task.done():
        return "pending"
    if task.cancelled():
        return "CancelledError"
    error = task.exception()
    return type(error).__name__ if error is not None else task.result()


def fate_of(delivery: Delivery) -> str:
    """Return what has become of an emitted message, in the model's words."""
    if not delivery.done():
        return "pending"
    for letter in delivery.dead_letters:
        if letter.handler is None:
            return "rejected" if letter.reason == "closed" else letter.reason
        return "failed"
    return "handled"


class Machine(RuleBasedStateMachine):
    """One terminal on a loop that is stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: Any = SimulatedLoop()
        self.model = Model(KEYS)
        self.actor_rules: dict[str, Rule] = {}
        self.made: Counter[tuple[str, str]] = Counter()
        self.alive: Counter[tuple[str, str]] = Counter()
        self.most_alive = 0
        self.broken = "nothing"
        self.log: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.gates: dict[int, asyncio.Event] = {}
        self.failures: dict[int, int] = {}
        self.deliveries: dict[int, Delivery] = {}
        self.callers: dict[int, asyncio.Task[Any]] = {}
        self.scopes: dict[str, Any] = {}
        self.count = 0
        self.closed = False

    @initialize(resume=RULES["resume"], restart=RULES["restart"], stop=RULES["stop"])
    def open(self, resume: Rule, restart: Rule, stop: Rule) -> None:
        registry = MessageRegistry(event_base=Event)
        for each in (resume, restart, stop):
            self.actor_rules[each.on_failure] = each
            registry.register(
                make_actor(self, each.on_failure),
                lifetime="actor",
                on_failure=each.on_failure,
                timeout=each.timeout,
                retry=Retry(each.attempts, BACKOFF, jitter=False) if each.attempts > 1 else None,
            )
        self.terminal = BusTerminal(registry, idle_timeout=IDLE_SECONDS)
        self.do(self.terminal.open())
        for key in KEYS:
            self.scopes[key] = self.do(self.terminal.scope(key).__aenter__())

    def do(self, coroutine: Any) -> Any:
        """Run something, and whatever follows from it at this moment."""

        async def settle() -> Any:
            try:
                return await coroutine
            finally:
                # Once more than needed: a timer may be due that has not been looked at.
                idle_rounds = 0
                while idle_rounds < 2:
                    await asyncio.sleep(0)
                    idle_rounds = 0 if self.loop._ready else idle_rounds + 1

        return self.loop.run_until_complete(settle())

    async def call(self, verb: str, message: Any, key: str, timeout: float) -> Any:
        """Have a caller wait for a message."""
        bus = self.scopes[key].bus
        if verb == "ask":
            return await bus.ask(message, timeout=timeout)
        return await getattr(bus, verb)(message)

    def post(
        self,
        verb: str,
        key: str,
        on_failure: OnFailure,
        failures: int = 0,
        held: bool = False,
        ttl: float | None = None,
        timeout: float = 0.4,
    ) -> None:
        """Send a message by some verb, to the terminal and to the model."""
        self.count += 1
        number, now = self.count, self.model.now
        if held:
            self.gates[number] = asyncio.Event()
        self.failures[number] = failures
        message = Message(number, verb, self.actor_rules[on_failure], failures, held)
        told, asked = TYPES[on_failure]
        if verb == "emit":
            message.expires = None if ttl is None else now + ttl

            async def emit() -> Delivery:
                return self.terminal.bus.emit(told(number), key=key, ttl=ttl)

            self.deliveries[number] = self.do(emit())
        else:
            kind = asked if message.is_command else told
            message.gives_up = now + timeout if verb == "ask" else None
            call = self.call(verb, kind(number), key, timeout)
            self.callers[number] = self.loop.create_task(call)
            self.do(asyncio.sleep(0))
        self.model.put(key, message)

    is_open = precondition(lambda self: not self.closed)

    @is_open
    @rule(
        verb=VERBS,
        key=WHERE,
        on_failure=ON_FAILURE,
        failures=FAILURES,
        held=HELD,
        ttl=TTLS,
        timeout=TIMEOUTS,
    )
    def send(self, **options: Any) -> None:
        self.post(**options)

    @is_open
    @rule(
        verbs=st.lists(VERBS, min_size=2, max_size=7)
        | st.lists(st.sampled_from(["emit", "publish"]), min_size=6, max_size=7),
        key=WHERE,
        on_failure=ON_FAILURE,
        failures=st.sampled_from([0, 9]),
        pause=st.sampled_from([0, 0, 0.875]),
    )
    def send_many(self, verbs: list[str], pause: float, **options: Any) -> None:
        """Send several messages to one actor; it may fail so often that it is stopped."""
        for verb in verbs:
            self.post(verb, timeout=3.4, **options)
            if pause:
                self.let_pass(pause)

    @precondition(lambda self: self.pending("ask", "publish", "send"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.pending("ask", "publish", "send")))
        self.callers[message.number].cancel()
        self.do(asyncio.sleep(0))
        self.model.give_up(message, "CancelledError")

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.held()))
        self.gates[message.number].set()
        self.do(asyncio.sleep(0))
        self.model.release(message)

    def pending(self, *verbs: str) -> list[Message]:
        """Return the messages whose caller waits."""
        return [
            each for each in self.model.messages if each.verb in verbs and each.answer == "pending"
        ]

    def held(self) -> list[Message]:
        """Return the messages whose handler waits for its release."""
        running = [box.running for box in self.model.boxes]
        return [each for each in running if each is not None and each.held]

    @is_open
    @rule(broken=BROKEN)
    def break_or_mend(self, broken: str) -> None:
        """From now on actors fail to start, or to stop; or they do not any more."""
        self.broken = self.model.broken = broken

    @is_open
    @rule(seconds=WAITS)
    def wait(self, seconds: float) -> None:
        self.let_pass(seconds)

    def let_pass(self, seconds: float) -> None:
        """Let time pass, and what is due then happen."""
        self.do(asyncio.sleep(seconds))
        self.model.wait(seconds)
        assert self.loop.time() == pytest.approx(self.model.now)

    @precondition(lambda self: not self.closed and self.count > 16)
    @rule()
    def close(self) -> None:
        self.do_close(timeout=0)

    def do_close(self, timeout: float) -> None:
        """Close; what cannot be stopped well then is raised."""
        fails = self.broken == "stop" and any(box.alive for box in self.model.boxes)
        try:
            self.do(self.terminal.close(timeout=timeout))
        except* Boom:
            assert fails
        else:
            assert not fails
        self.model.close()
        self.closed = True

    @precondition(lambda self: self.closed)
    @rule(verb=VERBS, key=WHERE, on_failure=ON_FAILURE)
    def send_too_late(self, verb: str, key: str, on_failure: OnFailure) -> None:
        told, asked = TYPES[on_failure]

        async def send() -> None:
            if verb == "emit":
                self.terminal.bus.emit(told(0), key=key)
            else:
                kind = asked if verb in ("ask", "send") else told
                await self.call(verb, kind(0), key, timeout=1)

        with pytest.raises(TerminalClosed):
            self.do(send())

    @invariant()
    def agree(self) -> None:
        """Messages, callers, dead letters and actors are where the model says, and counted."""
        model = self.model
        fates = {number: fate_of(each) for number, each in self.deliveries.items()}
        answers = {number: outcome_of(each) for number, each in self.callers.items()}
        assert fates == {each.number: each.fate for each in model.messages if each.verb == "emit"}
        assert answers == {
            each.number: each.answer for each in model.messages if each.verb != "emit"
        }
        assert self.log == model.log
        assert self.most_alive <= 1
        letters = Counter[tuple[int, str, int]]()
        for each in self.terminal.dead_letters:
            assert isinstance(each.message, (Told, Asked))
            letters[each.message.number, each.reason, each.attempts] += 1
        assert letters == model.letters
        counts = Counter(each.fate for each in model.messages if each.is_counted)
        assert_ledger(
            self.terminal.stats(),
            emitted=counts.total(),
            asked=sum(each.verb == "ask" and each.is_counted for each in model.messages),
            rejected_at_close=counts["rejected"],
            pending=counts["pending"] + counts["withdrawn"],
            dead_letters=letters.total(),
            **{fate: counts[fate] for fate in ("handled", "failed", "expired")},
        )

    def teardown(self) -> None:
        """Finish, whatever has happened."""
        try:
            if self.actor_rules:
                self.finish()
        finally:
            self.loop.close()

    def finish(self) -> None:
        """Let everybody go, and close: nothing is left, and everything is accounted for."""
        if not self.closed:
            for message in self.model.messages:
                if message.held:
                    message.held = False
                    self.gates[message.number].set()
            self.do(asyncio.sleep(0))
            self.model.settle()
            self.agree()
            self.let_pass(100.0)
            self.agree()
        for scope in self.scopes.values():
            self.do(scope.__aexit__(None, None, None))
        if not self.closed:
            self.do_close(timeout=30)
            self.agree()
        assert_ledger(self.terminal.stats(), pending=0, scopes=0)
        assert not self.pending("ask", "publish", "send")
        assert self.alive.total() == 0
        assert asyncio.all_tasks(self.loop) == set()
        assert self.loop.uncaught == []


@pytest.mark.parametrize("part", range(PARTS))
def test_h4_actors_agree_with_the_model(
    part: int, runtime_seed: int, expected_logs: list[str]
) -> None:
    """Whatever is done to actors and their callers, each ends as the model says.

    The scenario's 2,000 examples are run if the environment says `RUNTIME_STRESS`, and drawn from
    the seed then.
    """
    expected_logs += LOGS
    machine = seed(runtime_seed + part)(Machine) if STRESS else Machine
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            derandomize=not STRESS,
            phases=PHASES,
            database=None,
        ),
    )
