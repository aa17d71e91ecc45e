"""Identifiers that sort by the time they were made."""

import os
import time


def new_id(prefix: str) -> str:
    """``prefix_`` and a version 7 UUID in hex: sorts by time to a quarter of a microsecond, 62 bits of it random."""
    ms, rest = divmod(time.time_ns(), 1_000_000)
    value = (ms & (1 << 48) - 1) << 80 | 0x7 << 76 | (rest * 4096 // 1_000_000) << 64
    value |= 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2
    return f"{prefix}_{value:032x}"
