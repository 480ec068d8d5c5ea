"""All rows and all blanks: every peer has one of either for every job."""

from benchmarks.peers import actors, buses, history, modelled, ours, queues, signals
from benchmarks.peers.jobs import Blank, Row

OURS = {row.job: row for row in ours.ROWS}
ROWS: list[Row] = [
    *buses.ROWS,
    *history.ROWS,
    *modelled.ROWS,
    *signals.ROWS,
    *actors.ROWS,
    *queues.ROWS,
]
BLANKS: list[Blank] = [
    *buses.BLANKS,
    *history.BLANKS,
    *modelled.BLANKS,
    *signals.BLANKS,
    *actors.BLANKS,
    *queues.BLANKS,
]

PACKAGES = {
    "runtime": "message-runtime",
    "lihil": "lihil",
    "aiosignal": "aiosignal",
    "blinker": "blinker",
    "pyee": "pyee",
    "psygnal": "psygnal",
    "pluggy": "pluggy",
    "mediatr": "mediatr",
    "lato": "lato",
    "messagebus": "messagebus",
    "fastapi-events": "fastapi-events",
    "bubus": "bubus",
    "pykka": "pykka",
    "xoscar": "xoscar",
    "anyio stream": "anyio",
}
"""The distribution that each peer comes in. The others are parts of CPython."""
STANDARD = ("asyncio.Queue", "create_task", "loop.call_soon")
PEERS = (*(name for name in PACKAGES if name != ours.NAME), *STANDARD)
