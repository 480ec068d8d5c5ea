from typing import final

@final
class TypeTally:
    def ledger(self) -> dict[str, int]: ...
    @property
    def is_used(self) -> bool: ...

@final
class HandlerTally:
    failed: int
    slow: int
    longest: float
    @property
    def started(self) -> int: ...
    def count_failure(self) -> None: ...
