"""Everyone who plays: Pointsman, the peers, and simple rules."""

from benchmarks.learning.contenders.registry import CONTENDERS, Entry, absent, entry

__all__ = ["CONTENDERS", "Entry", "absent", "entry"]
