"""H7: messages leave nothing behind."""

import sys

from reliability.scenarios import emit_many

COUNT = 200_000
TOLERANCE = COUNT // 200
"""Blocks that the free lists of the interpreter and of the core may keep; a few hundred do."""


async def test_h7_messages_leave_nothing_behind() -> None:
    """After 200,000 emits no object is left, and no block of memory; bytes are a stress test."""
    blocks, objects = await emit_many(COUNT, measure=sys.getallocatedblocks)
    assert objects <= 0
    assert blocks < TOLERANCE
