"""What a simulated loop puts between asyncio and the things that it waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from selectors import BaseSelector, SelectorKey
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ("Events", "RelaySelector", "Submission")

T = TypeVar("T")

Events = list[tuple[SelectorKey, int]]
"""What a selector has found."""


class Submission(Executor):
    """Hand one job to an executor, and keep the future of it."""

    job: Future[Any]

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start the job."""
        job = self._executor.submit(fn, *args, **kwargs)
        self.job = job
        return job


class RelaySelector(BaseSelector):
    """A selector whose `select` is somebody else's."""

    def __init__(self, inner: BaseSelector, select: Callable[[float | None], Events]) -> None:
        self._inner = inner
        self._select = select

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> SelectorKey:
        """Watch a file."""
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> SelectorKey:
        """Watch a file no longer."""
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> SelectorKey:
        """Watch a file for something else."""
        return self._inner.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> Events:
        """Wait for events, for `timeout` seconds."""
        return self._select(timeout)

    def close(self) -> None:
        """Close the selector."""
        self._inner.close()

    def get_map(self) -> Mapping[FileDescriptorLike, SelectorKey]:
        """Return what is watched."""
        return self._inner.get_map()
