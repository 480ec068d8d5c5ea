"""How much memory this process has."""

import resource
import sys
from pathlib import Path

STATM = Path("/proc/self/statm")
UNIT = 1 if sys.platform == "darwin" else 1024
"""What `ru_maxrss` counts in, in bytes."""


def resident_bytes() -> int:
    """Return the resident set; where the system does not tell, its greatest size so far."""
    if STATM.exists():
        return int(STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
