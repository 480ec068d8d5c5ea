"""What only the whole program knows: check the terminals of a program without opening them.

``runtime check`` is its command.
"""

from runtime.checking.examination import examine

__all__ = ("examine",)
