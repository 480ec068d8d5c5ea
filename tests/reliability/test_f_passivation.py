"""F: actors that are stopped because they are idle, while messages arrive."""

import asyncio
import random
from typing import ClassVar

from reliability.support import Work, assert_ledger, turns

from runtime import BusTerminal, Event, MessageRegistry

RACES = 1_000
IDLE_SECONDS = 1.0


async def test_f10_message_that_meets_a_passivation_is_handled_once(runtime_seed: int) -> None:
    """In 1,000 races each message is handled exactly once, and no key has two live instances."""
    drawn = random.Random(runtime_seed)
    alive: list[int] = []
    handled: list[int] = []
    published: list[int] = []

    class Actor:
        count: ClassVar[int] = 0

        def __init__(self) -> None:
            type(self).count += 1

        async def __aenter__(self) -> None:
            await turns(drawn.randrange(3))
            alive.append(1)
            assert alive == [1]

        async def __aexit__(self, *error: object) -> None:
            assert error == (None, None, None)
            if drawn.random() < 0.5:
                await asyncio.sleep(drawn.random() * 0.01)
            await turns(drawn.randrange(4))
            alive.remove(1)

        async def work(self, work: Work) -> None:
            assert alive == [1]
            await turns(drawn.randrange(3))
            assert alive == [1]
            handled.append(work.number)

    registry = MessageRegistry(event_base=Event)
    registry.register(Actor, lifetime="actor")
    terminal = BusTerminal(registry, idle_timeout=IDLE_SECONDS)
    publishes: list[asyncio.Task[None]] = []

    async def publish(number: int) -> None:
        async with terminal.scope("a") as scope:
            await scope.bus.publish(Work(number))

    async with terminal:
        for number in range(RACES):
            if drawn.random() < 0.2:
                published.append(number)
                publishes.append(asyncio.create_task(publish(number)))
            else:
                terminal.bus.emit(Work(number), key="a")
            # Just before, at, or in the middle of the end of the actor.
            await asyncio.sleep(IDLE_SECONDS + drawn.choice([-0.001, 0.0, 0.001, 0.005]))
            await turns(drawn.randrange(6))
        await asyncio.gather(*publishes)
        await terminal.drain()
        assert sorted(handled) == list(range(RACES))
        # It is a race: some have found the old instance, and many a new one.
        assert RACES // 4 < Actor.count < RACES
    assert alive == []
    emitted = RACES - len(published)
    assert_ledger(terminal.stats(), emitted=emitted, handled=emitted, pending=0, scopes=0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
