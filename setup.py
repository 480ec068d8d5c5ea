"""Build the compiled core: every ``src_ext/runtime/*.pyx`` becomes ``runtime.*``."""

import os
import shutil
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

SOURCES = "src_ext"
STUBS = Path("stubs")
DEBUG = os.environ.get("RUNTIME_DEBUG") == "1"
ANNOTATE = os.environ.get("RUNTIME_ANNOTATE") == "1"
FLAGS = [] if os.name == "nt" else ["-O0", "-g", "-UNDEBUG"] if DEBUG else ["-O3"]
if sys.platform == "linux":
    FLAGS += ["-fno-plt", "-fno-semantic-interposition"]
BUILD = "build/annotate" if ANNOTATE else "build/cython-debug" if DEBUG else "build/cython"

DIRECTIVES = {
    "language_level": 3,
    "auto_pickle": False,
    "autotestdict": False,
    "embedsignature": False,
    "nonecheck": DEBUG,
}


class BuildWithStubs(build_py):
    """Put the stubs beside the extension modules that they describe."""

    def run(self) -> None:
        """Copy the stubs after the modules, unless the checkout itself is installed."""
        super().run()
        for stub in sorted(STUBS.rglob("*.pyi")) if not self.editable_mode else ():
            target = Path(self.build_lib) / stub.relative_to(STUBS)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(stub, target)


def extensions() -> list[Extension]:
    """List one extension per Cython source, in a stable order."""
    paths = sorted(Path(SOURCES, "runtime").glob("*.pyx"))
    return [Extension(f"runtime.{p.stem}", [str(p)], extra_compile_args=FLAGS) for p in paths]


setup(
    cmdclass={"build_py": BuildWithStubs},
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    ext_modules=cythonize(
        extensions(),
        build_dir=BUILD,
        include_path=[SOURCES],
        compiler_directives=DIRECTIVES,
        annotate=ANNOTATE,
    ),
)
