"""The thread pool of a terminal, for synchronous handlers that must not block the loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

__all__ = ("HandlerThreads",)


class HandlerThreads:
    """Runs handlers in threads, which are started when the first is called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return an asynchronous function that runs a synchronous one in the thread pool."""

        def run(*args: object, **options: object) -> Any:
            try:
                return function(*args, **options)
            except StopIteration as error:
                # A future cannot carry it; its caller would wait for ever.
                msg = "a handler raised StopIteration"
                raise RuntimeError(msg) from error

        @functools.wraps(function)
        async def call(*args: object, **options: object) -> Any:
            if self._executor is None:
                self._executor = concurrent.futures.ThreadPoolExecutor(
                    thread_name_prefix=self._name
                )
            job = functools.partial(copy_context().run, run, *args, **options)
            result = await asyncio.get_running_loop().run_in_executor(self._executor, job)
            return await result if inspect.isawaitable(result) else result

        return call

    def shut_down(self) -> None:
        """End the threads when they have nothing to do; do not wait for that."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
