"""``python -m runtime`` is the command ``runtime``."""

import sys

from runtime.cli import main

__all__ = ()

if __name__ == "__main__":
    sys.exit(main())
