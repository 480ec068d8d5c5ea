"""Each peer does what its row says, and cannot do what it is blank at.

Run by `make bench-peers`, in the environment that has the peers. Before every measuring, so that a
figure is never printed for work that was not done.
"""

# The peers are in an environment of their own, and most have no types.
# pyright: standard, reportMissingImports=false

import xml.etree.ElementTree as ET
from typing import Annotated, Any

import lihil.plugins.bus as lihil
import pluggy
import pykka
import pytest
from aiosignal import Signal
from blinker import NamedSignal
from ididi import use

import runtime
from benchmarks.peers import chart, history, signals
from benchmarks.peers.__main__ import line, measure
from benchmarks.peers.buses import lihil_bus
from benchmarks.peers.jobs import JOBS, Row, Tally, proved
from benchmarks.peers.table import BLANKS, PEERS, ROWS
from benchmarks.workload import BURST, EVENT, Clock, GetOrder, Ordered, Session


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.job}-{row.peer}")
def test_each_handler_runs_once_for_each_operation(row: Row) -> None:
    async def measured() -> None:
        async with proved(row).prepare() as run:
            await run(BURST)
            await run(BURST)

    runtime.run(measured())


def test_each_peer_is_at_each_job_once_or_says_why_it_is_not() -> None:
    there = [(row.peer, row.job) for row in ROWS]
    blank = [(each.peer, job) for each in BLANKS for job in each.jobs]
    assert sorted(there + blank) == sorted((peer, job) for peer in PEERS for job in JOBS)


def test_lihil_refuses_sync_functions() -> None:
    def handle(event: Ordered, ctx: Any) -> None:
        pass

    async def publish() -> None:
        async with lihil_bus([handle]) as bus:
            await bus.publish(EVENT)

    with pytest.raises(Exception, match="Unable to resolve dependency"):
        runtime.run(publish())


def test_lihil_makes_a_new_object_for_each_publish_with_one_singleton() -> None:
    seen: list[Session] = []

    def open_session(clock: Annotated[Clock, use(Clock, reuse=True)]) -> Session:
        return Session(clock)

    async def handle(
        event: Ordered, ctx: Any, session: Annotated[Session, use(open_session, reuse=False)]
    ) -> None:
        seen.append(session)

    async def publish() -> None:
        async with lihil_bus([handle]) as bus:
            await bus.publish(EVENT)
            await bus.publish(EVENT)

    runtime.run(publish())
    first, second = seen
    assert first is not second
    assert first.clock is second.clock


def test_lihil_keeps_one_handler_of_a_command() -> None:
    async def reply(command: GetOrder, ctx: Any) -> int:
        return 1

    async def other(command: GetOrder, ctx: Any) -> int:
        return 2

    registry: lihil.MessageRegistry[Any] = lihil.MessageRegistry(command_base=GetOrder)
    registry.register(reply, other)
    assert registry.command_mapping[GetOrder].handler is other


def test_aiosignal_cannot_have_a_sync_receiver() -> None:
    async def send() -> None:
        signal: Signal[Ordered] = Signal(owner=None)
        signal.append(lambda event: None)
        signal.freeze()
        await signal.send(EVENT)

    with pytest.raises(TypeError, match="await"):
        runtime.run(send())


def test_blinker_replies_with_a_list_of_all_receivers() -> None:
    signal = NamedSignal("ordered")
    signal.connect(lambda sender: 42, weak=False)
    ((_, reply),) = signal.send(None)
    assert reply == 42


def test_an_emit_of_psygnal_cannot_be_awaited() -> None:
    orders = signals.Orders()
    orders.ordered.connect(lambda event: None)
    assert orders.ordered.emit(EVENT) is None


def test_pluggy_does_not_await_its_plugins() -> None:
    class Async:
        @signals.implement
        async def get_order(self, command: GetOrder) -> int:
            return 42

    manager = pluggy.PluginManager("orders")
    manager.add_hookspecs(signals.Hooks)
    manager.register(Async())
    coroutine = manager.hook.get_order(command=None)
    assert hasattr(coroutine, "send")
    coroutine.close()


def test_pykka_does_not_await_its_handlers() -> None:
    class Async(pykka.ThreadingActor):
        async def on_receive(self, message: object) -> int:
            return 42

    actor = Async.start()
    coroutine = actor.ask(EVENT)
    actor.stop()
    assert hasattr(coroutine, "send")
    coroutine.close()


def test_bubus_handles_an_event_object_once() -> None:
    async def dispatch() -> int:
        tally = Tally()
        async with history.bubus_bus(history.bubus_async(tally)) as bus:
            event = history.OrderPlaced()
            await bus.dispatch(event)
            bus.dispatch(event)
            await bus.wait_until_idle()
        return tally.count

    assert runtime.run(dispatch()) == 1


def test_the_table_and_the_picture_have_what_was_measured() -> None:
    rows = list(measure(JOBS["publish x1"], ["aiosignal", "psygnal"], rounds=3))
    ours, aiosignal, psygnal = rows
    assert (ours["peer"], aiosignal["peer"], psygnal["peer"]) == ("runtime", "aiosignal", "psygnal")
    assert aiosignal["factor"] > 0
    assert f"{aiosignal['factor']:,.2f}x" in line(aiosignal)
    assert line(psygnal).endswith("an emit cannot be awaited")
    jobs = {job.name: job.title for job in JOBS.values()}
    drawn = chart.svg_of({"rows": rows, "jobs": jobs, "rounds": 3, "python": "3.11"})
    texts = [each.text for each in ET.fromstring(drawn).iter() if each.tag.endswith("text")]
    assert "aiosignal" in texts
    assert chart.label(aiosignal["factor"]) in texts
    assert "psygnal" not in texts
