import asyncio
from typing import Any, final

from runtime._mailbox import Reply

@final
class Row:
    timeout: float

@final
class Deadlines:
    def __new__(cls) -> Deadlines: ...
    def sweep(self) -> None: ...
    def fire(self, loop: asyncio.AbstractEventLoop, row: Row, due: float) -> None: ...

def give_up(reply: Reply[Any], timeout: float) -> None: ...
