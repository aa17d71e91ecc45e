"""Everyone who plays: Pointsman, the peers, and simple rules."""

from benchmarks.learning.contenders.registry import CONTENDERS, TEXTS, Entry, absent, entry

__all__ = ["CONTENDERS", "TEXTS", "Entry", "absent", "entry"]
