"""Random programs of every verb: each accepted message ends in exactly one way."""

import asyncio
from contextlib import suppress
from typing import Any

from contract.support import Boom, MakeTerminal, RunAsync, ledger
from hypothesis import given
from hypothesis import strategies as st
from reference import Ledger

from runtime import Event, EventBus
from runtime.errors import MailboxFull, TerminalClosed

Step = tuple[Any, ...]

boxes = st.sampled_from([None, "a", "b", "scope"])
jobs = st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans())
steps = st.one_of(
    st.tuples(st.sampled_from(["emit", "offer", "publish"]), boxes, jobs),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("pause"), st.integers(1, 3)),
    st.tuples(st.just("drain")),
)
programs = st.lists(steps, max_size=40)


class Job(Event):
    """A message that says what its handler does: emit children, suspend, fail."""

    number: int
    suspensions: int
    children: int
    fails: bool


class Model:
    """A random program, and what it and its handlers saw, from which the ledger must follow."""

    def __init__(self) -> None:
        self.numbers = 0
        self.accepted: set[int] = set()
        self.started: list[int] = []
        self.ended: list[int] = []
        self.failing: set[int] = set()
        self.failed: set[int] = set()
        self.offers: list[asyncio.Task[None]] = []
        # What the program itself emitted to each mailbox: its order must be kept.
        self.emitted: dict[str | None, list[int]] = {}

    def make_job(self, suspensions: int, children: int, fails: bool) -> Job:
        self.numbers += 1
        if fails:
            self.failing.add(self.numbers)
        return Job(self.numbers, suspensions, children, fails)

    # Two handlers: the first does what the job says, the second sees it whatever becomes of that.

    async def work(self, job: Job, bus: EventBus[object]) -> None:
        self.started.append(job.number)
        try:
            for _ in range(job.children):
                self.emit(bus, self.make_job(1, 0, False))
            for _ in range(job.suspensions):
                await asyncio.sleep(0)
            if job.fails:
                raise Boom
        except BaseException:
            self.failed.add(job.number)
            raise

    def end(self, job: Job) -> None:
        self.ended.append(job.number)

    def emit(self, bus: EventBus[object], job: Job, **options: Any) -> bool:
        """Emit, and note whether the message was accepted."""
        try:
            bus.emit(job, **options)
        except (MailboxFull, TerminalClosed) as error:
            refused = error.message
        else:
            self.accepted.add(job.number)
            return True
        assert refused is job
        return False

    async def offer(self, bus: EventBus[object], job: Job, **options: Any) -> None:
        await bus.offer(job, **options)
        self.accepted.add(job.number)

    async def run(self, terminal: Any, scope: Any, program: list[Step]) -> None:
        """Do the steps one by one; the ledger holds after each."""
        for verb, *arguments in program:
            if verb in ("emit", "offer", "publish"):
                box, job = arguments[0], self.make_job(*arguments[1])
                bus = scope.bus if box == "scope" else terminal.bus
                options = {"key": box} if box in ("a", "b") else {}
                if verb == "publish":
                    with suppress(Boom):
                        await bus.publish(job)
                elif verb == "offer":
                    self.offers.append(asyncio.create_task(self.offer(bus, job, **options)))
                elif self.emit(bus, job, **options):
                    self.emitted.setdefault(box, []).append(job.number)
            elif verb == "cancel":
                if self.offers:
                    number: int = arguments[0]
                    self.offers[number % len(self.offers)].cancel()
            elif verb == "pause":
                for _ in range(arguments[0]):
                    await asyncio.sleep(0)
            else:
                await terminal.drain()
            ended = self.accepted.intersection(self.ended)
            assert ledger(terminal) == Ledger(
                len(self.accepted),
                handled=len(ended - self.failed),
                failed=len(ended & self.failed),
                pending=len(self.accepted - ended),
            )

    def check_order(self) -> None:
        """Check that nothing was handled twice, and every mailbox started its messages in order."""
        assert len(self.started) == len(set(self.started))
        assert len(self.ended) == len(set(self.ended))
        for numbers in self.emitted.values():
            started = [number for number in self.started if number in numbers]
            assert started == numbers[: len(started)]


@given(program=programs, capacity=st.integers(1, 4), concurrency=st.integers(1, 3))
def test_every_accepted_message_is_handled_once(
    make_terminal: MakeTerminal,
    run_async: RunAsync,
    program: list[Step],
    capacity: int,
    concurrency: int,
) -> None:
    """The ledger agrees with the handlers after every step, and a drain leaves nothing pending."""
    model = Model()

    async def main() -> None:
        options = {"capacity": capacity, "concurrency": concurrency}
        async with make_terminal([model.work, model.end], **options) as terminal:
            async with terminal.scope("scope") as scope:
                await model.run(terminal, scope, program)
                await asyncio.gather(*model.offers, return_exceptions=True)
            await terminal.drain()
            for offer in model.offers:
                assert offer.cancelled() or offer.exception() is None
            assert model.accepted <= set(model.ended)
            assert model.failed == model.failing.intersection(model.started)
            model.check_order()
            failed = len(model.failed & model.accepted)
            accepted = len(model.accepted)
            assert ledger(terminal) == Ledger(accepted, handled=accepted - failed, failed=failed)

    run_async(main())


@given(
    program=programs,
    capacity=st.integers(1, 4),
    concurrency=st.integers(1, 3),
    timeout=st.sampled_from([0.0, 30.0]),
)
def test_close_accounts_for_every_message(
    make_terminal: MakeTerminal,
    run_async: RunAsync,
    program: list[Step],
    capacity: int,
    concurrency: int,
    timeout: float,
) -> None:
    """In the midst of work each message ends handled, failed, or reported as undelivered."""
    model = Model()

    async def main() -> None:
        options = {"capacity": capacity, "concurrency": concurrency}
        async with make_terminal([model.work, model.end], **options) as terminal:
            async with terminal.scope("scope") as scope:
                await model.run(terminal, scope, program)
                report = await terminal.close(timeout)
            for offer in await asyncio.gather(*model.offers, return_exceptions=True):
                assert offer is None or isinstance(offer, TerminalClosed | asyncio.CancelledError)
            model.check_order()
            started = model.accepted.intersection(model.started)
            rejected = model.accepted - started
            handled = started.intersection(model.ended) - model.failed
            assert not rejected or timeout == 0
            assert sorted(job.number for job in report.undelivered) == sorted(rejected)
            assert (report.handled, report.stuck) == (len(handled), ())
            assert report.failed == len(started - handled)
            assert ledger(terminal) == Ledger(
                len(model.accepted),
                handled=len(handled),
                failed=len(started - handled),
                rejected_at_close=len(rejected),
            )

    run_async(main())
