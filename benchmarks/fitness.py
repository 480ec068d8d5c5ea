"""Tell whether times that are taken here say anything."""

import sys
import tracemalloc
from collections.abc import Collection
from pathlib import Path

import runtime.terminal  # noqa: F401  # pyright: ignore[reportUnusedImport] -- its modules are read

NONE_CHECK = b"'NoneType' object has no attribute"
"""In every module that was compiled with `nonecheck`, and not in all of the others."""
TOOLS = range(6)


def compiled_modules() -> list[bytes]:
    """Return what is in the files of the compiled modules."""
    files = {
        name: getattr(module, "__file__", None) or ""
        for name, module in sys.modules.items()
        if name.startswith("runtime.")
    }
    return [Path(file).read_bytes() for file in files.values() if file.endswith((".so", ".pyd"))]


def is_watched() -> bool:
    """Tell whether coverage, a debugger or a profiler looks on."""
    # Since CPython 3.12.
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None and any(monitoring.get_tool(tool) for tool in TOOLS):
        return True
    return bool(sys.gettrace() or sys.getprofile() or tracemalloc.is_tracing())


def unfit(compiled: Collection[bytes]) -> str | None:
    """Return why times say nothing, if so, by the interpreter and the compiled modules."""
    if not compiled:
        return "the core is not compiled"
    if all(NONE_CHECK in module for module in compiled):
        return "the core is a debug build; build it again without RUNTIME_DEBUG"
    if hasattr(sys, "gettotalrefcount"):
        return "the interpreter is a debug build; take another"
    if sys.flags.dev_mode:
        return "the interpreter is in development mode; run it without -X dev"
    if is_watched():
        return "coverage, a debugger or a profiler looks on; run without"
    return None
