"""Made-up comparisons for the tests of this room."""

from made_up import make, maker

__all__ = ["make", "maker"]
