import asyncio
from typing import Any, Self, final

from runtime._core import Core
from runtime._mailbox import Delivery, Mailbox
from runtime._wiring import Storage

@final
class Wait:
    def draw(self, future: asyncio.Future[Any] | None = None) -> None: ...
    def suspend(self, future: asyncio.Future[Any]) -> None: ...
    def erase(self) -> None: ...

@final
class Waits:
    def __new__(cls, core: Core) -> Self: ...
    def edge(
        self,
        home: Mailbox,
        asker: Delivery | None,
        verb: str,
        box: Mailbox,
        target: Delivery | None,
        event: object,
    ) -> Wait: ...
    def edge_of(
        self,
        storage: Storage | None,
        verb: str,
        box: Mailbox,
        target: Delivery | None,
        event: object,
    ) -> Wait | None: ...
    def forget(self, asker: Delivery) -> None: ...
    def end_attempt(self, asker: Delivery) -> None: ...
