"""H7: messages leave nothing behind."""

import sys

from reliability.scenarios import emit_many


async def test_h7_messages_leave_nothing_behind() -> None:
    """After 200,000 emits no object is left, and no block of memory; bytes are a stress test."""
    blocks, objects = await emit_many(200_000, measure=sys.getallocatedblocks)
    assert objects <= 0
    assert blocks < 200
