"""A delivery can be ignored, waited for, or called back."""

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from runtime import BusTerminal, Delivery, Event, MessageRegistry
from runtime.errors import DeliveryFailed


class Ping(Event):
    pass


class Heavy:
    """A message that can be watched."""


def terminal_with(*handlers: Any) -> BusTerminal[Any]:
    registry = MessageRegistry(event_base=object)
    for handler in handlers:
        registry.register(handler)
    return BusTerminal(registry)


async def test_wait_returns_none_when_all_is_well() -> None:
    """Zero handlers are fine, and a message that has ended already is no wait."""
    async with terminal_with() as terminal:
        delivery = terminal.bus.emit(Ping())
        assert not delivery.done()
        assert await delivery.wait() is None  # type: ignore[func-returns-value]
        assert delivery.done()
        assert await delivery.wait() is None  # type: ignore[func-returns-value]
        assert delivery.dead_letters == ()


async def test_many_may_wait_and_one_may_give_up() -> None:
    """Each waiter is served; one that is cancelled takes nobody with it."""
    gate = asyncio.Event()

    async def handler(event: Ping) -> None:
        await gate.wait()

    async with terminal_with(handler) as terminal:
        delivery = terminal.bus.emit(Ping())
        waiters = [asyncio.create_task(delivery.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[1].cancel()
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*waiters, return_exceptions=True)
    assert results[0] is results[2] is None
    assert isinstance(results[1], asyncio.CancelledError)


async def test_a_failure_names_everything(caplog: pytest.LogCaptureFixture) -> None:
    """The waiter gets every dead letter; each failure is logged once with its traceback."""

    async def bad(event: Ping) -> None:
        msg = "no stock"
        raise ValueError(msg)

    def worse(event: Ping) -> None:
        msg = "sku"
        raise KeyError(msg)

    async with terminal_with(bad, worse) as terminal:
        with pytest.raises(DeliveryFailed) as caught:
            await terminal.bus.emit(Ping()).wait()
    first, second = caught.value.dead_letters
    assert caught.value.__cause__ is first.error
    assert (first.message, first.reason) == (Ping(), "failed")
    assert first.handler is not None
    assert first.handler.endswith(".bad")
    assert isinstance(second.error, KeyError)
    assert "bad of Ping: failed: ValueError: no stock; " in str(caught.value)
    records = [each for each in caplog.records if each.name == "runtime"]
    assert [each.levelno for each in records] == [logging.ERROR] * 2
    assert "bad (" in records[0].getMessage()
    assert records[0].exc_info is not None
    assert records[0].exc_info[1] is first.error
    assert terminal.stats().dead_letters == 2


async def test_callbacks_come_soon_after_the_end() -> None:
    """A callback gets the delivery, also when it is added late; one that raises hurts nobody."""
    seen: list[Delivery] = []
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, details: reported.append(details))

    def broken(delivery: Delivery) -> None:
        msg = "callback"
        raise RuntimeError(msg)

    async with terminal_with() as terminal:
        delivery = terminal.bus.emit(Ping(), callback=seen.append)
        delivery.add_done_callback(broken)
        delivery.add_done_callback(seen.append)
        await delivery.wait()
        delivery.add_done_callback(seen.append)
        await asyncio.sleep(0)
        assert terminal.stats().handled == 1
    assert seen == [delivery] * 3
    assert [str(each["exception"]) for each in reported] == ["callback"]


async def test_a_callback_must_be_callable() -> None:
    """A wrong callback is refused before the message is queued."""
    async with terminal_with() as terminal:
        with pytest.raises(TypeError, match="a callback must be callable, not 42"):
            terminal.bus.emit(Ping(), callback=42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="a callback must be callable"):
            terminal.bus.emit(Ping()).add_done_callback(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await terminal.drain()
        assert terminal.stats().emitted == 1


async def test_a_kept_delivery_does_not_keep_the_message() -> None:
    """Once handled, a message is free, whoever holds its delivery."""
    async with terminal_with() as terminal:
        heavy = Heavy()
        gone = weakref.ref(heavy)
        delivery = terminal.bus.emit(heavy)
        del heavy
        await delivery.wait()
        gc.collect()
        assert gone() is None
        assert repr(delivery).startswith("<Delivery handled at ")
