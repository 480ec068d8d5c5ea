"""H4: a terminal and a model of it, taken through the same random steps, agree after each."""

import asyncio
import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from reliability.model import Message, Model
from reliability.support import FAILURES, Boom, assert_counters, assert_ledger

from runtime import BusTerminal, Delivery, Event, MailboxPolicy, MessageRegistry
from runtime.errors import MailboxFull, TerminalClosed
from runtime.testing import SimulatedLoop

STRESS = bool(os.environ.get("RUNTIME_STRESS"))
PARTS = 10 if STRESS else 1
EXAMPLES = 200 if STRESS else 80
# A failure is made smaller only where there is time for that.
PHASES = [each for each in Phase if STRESS or each is not Phase.shrink]
CAPACITY = 2
CONCURRENCY = 2


class Rejects(Event):
    """A message that is refused where there is no room."""

    number: int
    fails: bool
    held: bool


class DropsOldest(Rejects):
    """A message that makes room for itself."""


class DropsNewest(Rejects):
    """A message that goes where there is no room."""


POLICIES = {
    Rejects: MailboxPolicy(CAPACITY),
    DropsOldest: MailboxPolicy(CAPACITY, "drop_oldest"),
    DropsNewest: MailboxPolicy(CAPACITY, "drop_newest"),
}
KINDS = st.sampled_from(list(POLICIES))
DROPPING = st.sampled_from([DropsOldest, DropsNewest])
KEYS = st.sampled_from([None, "red"])
SECONDS = st.sampled_from([0.5, 1.0])
MAYBE = st.none() | SECONDS
OFTEN = st.sampled_from([True, True, False])
SELDOM = st.sampled_from([False, False, True])

FATES = {"failed": "failed", "overflow": "dropped", "expired": "expired"}


def fate_of(delivery: Delivery) -> str:
    """Return what has become of a message, in the model's words."""
    if not delivery.done():
        return "pending"
    for letter in delivery.dead_letters:
        if letter.reason == "closed":
            return "rejected" if letter.handler is None else "failed"
        return FATES[letter.reason]
    return "handled"


class Machine(RuleBasedStateMachine):
    """One terminal on a loop that is stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        # Without a seed: who stands in line is served in order, as asyncio's order is one.
        self.loop = SimulatedLoop()
        self.model = Model(CAPACITY, CONCURRENCY)
        self.handled: list[tuple[str, int]] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.deliveries: dict[int, Delivery] = {}
        self.offers: dict[int, asyncio.Task[Delivery]] = {}
        self.count = 0
        self.handlers = 1
        self.closed = False
        registry = MessageRegistry(event_base=Event)
        registry.register(self.first)
        self.terminal = BusTerminal(registry, mailbox=POLICIES, concurrency=CONCURRENCY)
        self.do(self.terminal.open())

    def do(self, coroutine: Any) -> Any:
        """Run something, and whatever follows from it at this moment."""

        async def settle() -> Any:
            try:
                return await coroutine
            finally:
                for _ in range(25):
                    await asyncio.sleep(0)

        return self.loop.run_until_complete(settle())

    async def first(self, message: Rejects) -> None:
        """Handle a message, when it is released."""
        if message.held:
            await self.gates.setdefault(message.number, asyncio.Event()).wait()
        if message.fails:
            raise Boom
        self.handled.append(("first", message.number))

    async def second(self, message: Rejects) -> None:
        """Handle a message too, once included."""
        self.handled.append(("second", message.number))

    def make(self, kind: type[Rejects], fails: bool, held: bool, **more: Any) -> Any:
        """Return a message, and what the model calls it."""
        self.count += 1
        overflow = POLICIES[kind].overflow
        return (
            kind(self.count, fails, held),
            Message(self.count, overflow, fails, held, self.handlers, **more),
        )

    @precondition(lambda self: not self.closed)
    @rule(kind=KINDS, key=KEYS, fails=SELDOM, held=OFTEN, ttl=MAYBE)
    def emit(self, kind: Any, key: Any, fails: bool, held: bool, ttl: float | None) -> None:
        expires = None if ttl is None else self.model.now + ttl
        event, message = self.make(kind, fails, held, expires=expires)

        async def emit() -> bool:
            try:
                delivery = self.terminal.bus.emit(event, key=key, ttl=ttl)
            except MailboxFull:
                return False
            self.deliveries[message.number] = delivery
            return True

        assert self.do(emit()) == self.model.emit(key, message)

    @precondition(lambda self: not self.closed)
    @rule(kind=DROPPING, key=KEYS, fails=SELDOM, held=OFTEN, delay=SECONDS, ttl=MAYBE)
    def delay(
        self, kind: Any, key: Any, fails: bool, held: bool, delay: float, ttl: float | None
    ) -> None:
        due = self.model.now + delay
        event, message = self.make(kind, fails, held, expires=None if ttl is None else due + ttl)

        async def emit() -> Delivery:
            return self.terminal.bus.emit(event, key=key, delay=delay, ttl=ttl)

        self.deliveries[message.number] = self.do(emit())
        self.model.accepted.append(message)
        self.model.delayed.append((due, message.number, self.model.boxes[key], message))

    @precondition(lambda self: not self.closed)
    @rule(kind=KINDS, key=KEYS, fails=SELDOM, held=OFTEN)
    def offer(self, kind: Any, key: Any, fails: bool, held: bool) -> None:
        event, message = self.make(kind, fails, held)
        task = self.loop.create_task(self.terminal.bus.offer(event, key=key))
        self.offers[message.number] = task
        self.do(asyncio.sleep(0))
        assert task.done() == self.model.offer(key, message)

    @precondition(lambda self: any(box.line for box in self.model.boxes.values()))
    @rule(data=st.data())
    def cancel_offer(self, data: st.DataObject) -> None:
        box = data.draw(st.sampled_from([box for box in self.model.boxes.values() if box.line]))
        message = data.draw(st.sampled_from(box.line))
        box.line.remove(message)
        task = self.offers.pop(message.number)
        task.cancel()
        self.do(asyncio.sleep(0))
        assert task.cancelled()

    @precondition(lambda self: any(box.running for box in self.model.boxes.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        box = data.draw(st.sampled_from([box for box in self.model.boxes.values() if box.running]))
        message = data.draw(st.sampled_from(box.running))
        self.gates[message.number].set()
        self.do(asyncio.sleep(0))
        self.model.release(box, message)

    @precondition(lambda self: not self.closed)
    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))
        self.model.wait(seconds)

    @precondition(lambda self: self.handlers == 1 and not self.closed)
    @rule()
    def include(self) -> None:
        registry = MessageRegistry(event_base=Event)
        registry.register(self.second)
        self.terminal.include(registry)
        self.handlers = 2

    @precondition(lambda self: not self.closed and self.count > 16)
    @rule()
    def close(self) -> None:
        report = self.do(self.terminal.close(timeout=0))
        waiting = [message for box in self.model.boxes.values() for message in box.line]
        for message in waiting:
            assert isinstance(self.offers.pop(message.number).exception(), TerminalClosed)
        for box in self.model.boxes.values():
            box.line.clear()
        self.model.close()
        for box in self.model.boxes.values():
            box.running.clear()
        fates = Counter(message.fate for message in self.model.accepted)
        assert len(report.undelivered) == fates["rejected"]
        assert (report.handled, report.failed) == (fates["handled"], fates["failed"])
        self.closed = True

    @precondition(lambda self: self.closed)
    @rule(kind=KINDS, key=KEYS)
    def emit_too_late(self, kind: Any, key: Any) -> None:
        async def emit() -> None:
            with pytest.raises(TerminalClosed):
                self.terminal.bus.emit(kind(0, False, False), key=key)

        self.do(emit())

    @invariant()
    def agree(self) -> None:
        """Every message has the fate that the model says, and the counters count them."""
        for number, task in self.offers.items():
            if task.done():
                self.deliveries[number] = task.result()
        accepted = {message.number: message.fate for message in self.model.accepted}
        assert {number: fate_of(each) for number, each in self.deliveries.items()} == accepted
        assert Counter(self.handled) == Counter(self.model.handled)
        fates = Counter(accepted.values())
        assert_ledger(
            self.terminal.stats(),
            emitted=len(accepted),
            rejected_at_close=fates.pop("rejected", 0),
            **{fate: fates[fate] for fate in ("handled", "failed", "dropped", "expired")},
            pending=fates["pending"],
        )
        assert_counters(self.terminal)

    def teardown(self) -> None:
        """Finish, whatever has happened."""
        try:
            self.finish()
        finally:
            self.loop.close()

    def finish(self) -> None:
        """Let everybody go, and close: what was queued or running ends well."""
        if not self.closed:
            for number in range(1, self.count + 1):
                self.gates.setdefault(number, asyncio.Event()).set()
            self.do(asyncio.sleep(0))
            for box in self.model.boxes.values():
                for message in (*box.running, *box.queue, *box.line):
                    message.held = False
                while box.running:
                    self.model.release(box, box.running[0])
                self.model.pump(box)
            self.agree()
            self.do(self.terminal.close())
            self.model.close()
            self.agree()
        assert_ledger(self.terminal.stats(), pending=0, scopes=0)
        assert asyncio.all_tasks(self.loop) == set()
        assert self.loop.uncaught == []


@pytest.mark.parametrize("part", range(PARTS))
def test_h4_agrees_with_the_model(part: int, runtime_seed: int, expected_logs: list[str]) -> None:
    """Whatever is done to a terminal, it does with each message what the model says.

    Crashes, restarts and asks are of actors, in `test_h_actors.py`. The scenario's 2,000 examples
    are run if the environment says `RUNTIME_STRESS`, and drawn from the seed then.
    """
    expected_logs += [FAILURES, "was not handled", "messages undelivered", "failed to handle"]
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
