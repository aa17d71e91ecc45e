"""Results on disk: one JSON line per pass, found again while the code and the table that made it are the same."""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning.contenders import entry
from benchmarks.learning.contenders.registry import version
from benchmarks.learning.play import LOG_TOKENS, Pass
from benchmarks.learning.problems import SIMULATED, Problem
from learning.features import encode

_ROOT = Path(__file__).resolve().parents[2]
_SHARED = (
    "benchmarks/learning/problems.py",
    "benchmarks/learning/play.py",
    "benchmarks/learning/contenders/protocol.py",
    "router/domain/hindsight.py",
    "router/domain/outcome_stream.py",
    "router/domain/outcome_table.py",
    "router/domain/published.py",
    "router/storage/outcome_files.py",
)
_POINTSMAN = ("router/services/replay.py", "router/services/texts.py")


def _digest(parts: Iterable[bytes]) -> str:
    sum_ = hashlib.blake2b(digest_size=8)
    for part in parts:
        sum_.update(len(part).to_bytes(8, "little"))
        sum_.update(part)
    return sum_.hexdigest()


@lru_cache
def code_of(contender: str) -> str:
    """Digest of the code that a contender's pass depends on."""
    found = entry(contender)
    files = [_ROOT / f for f in _SHARED]
    if found.build is None:
        files += [_ROOT / f for f in _POINTSMAN] + sorted((_ROOT / "learning").rglob("*.py"))
    else:
        maker = getattr(found.build, "func", found.build)
        files.append(_ROOT / (maker.__module__.replace(".", "/") + ".py"))
    parts = [f.read_bytes() for f in files]
    parts.append(
        np.array([encode(n)[LOG_TOKENS] for n in (0, 40, 1_000, 30_000, 10**6)]).tobytes()
    )  # what peers see of Pointsman's features
    how = repr(getattr(found.build, "keywords", "")), found.policy, found.texts
    return _digest([*parts, version(found).encode(), *(told.encode() for told in how)])


@lru_cache
def table_digest(path: str) -> str:
    """Digest of a table's file."""
    return SIMULATED if path == SIMULATED else _digest([Path(path).read_bytes()])


def key_of(problem: Problem, contender: str, seed: int) -> str:
    """Under which a pass is found again."""
    known = {**asdict(problem), "table": problem.name, "digest": table_digest(problem.table)}
    return json.dumps({**known, "contender": contender, "seed": seed, "code": code_of(contender)}, sort_keys=True)


class Results:
    """Append-only file of passes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue  # the line that a killed run was writing
                self._known[record["key"]] = record

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def get(self, key: str) -> Pass | None:
        """A pass made before."""
        record = self._known.get(key)
        if record is None:
            return None
        chosen = np.frombuffer(zlib.decompress(base64.b64decode(record["chosen"])), dtype=np.uint16).astype(np.int64)
        return Pass(chosen, record["seconds"], record["incidents"])

    def add(self, key: str, made: Pass) -> None:
        """Keep a pass; on disk when this returns."""
        packed = base64.b64encode(zlib.compress(made.chosen.astype(np.uint16).tobytes())).decode()
        record = {"key": key, "seconds": round(made.seconds, 3), "incidents": made.incidents, "chosen": packed}
        self._known[key] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
