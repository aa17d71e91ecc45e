"""Snapshots: the learned state as bytes, without pickle.

Layout: 8 magic bytes, 16 bytes BLAKE2b of the rest, 4 bytes header length, JSON header, then the arrays named in the header as
little-endian raw values. Save, load, save gives the same bytes; a restored learner publishes the same posterior, bit for bit.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from learning.arrays import FloatArray
from learning.drift import Watch
from learning.errors import IncompatibleState
from learning.facts import ArmFacts
from learning.features import SCHEMA_VERSION
from learning.hierarchy import Common
from learning.learner import Learner
from learning.statistics import Statistics
from learning.targets import Target
from learning.text import TextEvidence
from learning.voices import Voices

_MAGIC = b"PTSMAN04"
_SUMS = ("gram", "moment", "square", "labels")
_COUNTS = ("calls", "failures")
_COMMON_ARRAYS = ("zeta", "task", "noise", "model_var", "covariance")
_COMMON_NUMBERS = ("beta", "pooled_noise", "cell_var", "task_var")


def save(learner: Learner) -> bytes:
    """Serialise a learner."""
    statistics = learner.statistics
    arrays: list[tuple[str, FloatArray]] = [(name, getattr(statistics, name)) for name in (*_SUMS, *_COUNTS)]
    commons: list[dict[str, Any]] = []
    for target in Target:
        common, counters = learner.common(target), learner.counters(target)
        arrays += [(f"{target.name}.{name}", getattr(common, name)) for name in _COMMON_ARRAYS]
        commons.append({**{name: getattr(common, name) for name in _COMMON_NUMBERS}, **counters})
    watch, kept = learner.watch.saved()
    arrays.append(("kept", kept))
    voices, said = statistics.voices.saved()
    arrays += sorted(said.items())
    texts: dict[str, Any] = {}
    for kind, evidence in sorted(learner.texts.items()):
        texts[str(kind)], sums = evidence.saved(f"text.{kind}.")
        arrays += sorted(sums.items())
    header = {
        "schema": SCHEMA_VERSION,
        "half_life": statistics.half_life,
        "anchor": statistics.anchor,
        "now": statistics.now,
        "seq": statistics.seq,
        "folded": statistics.folded,
        "models": statistics.models,
        "task_types": statistics.task_types,
        "cells": [statistics.cell_model.tolist(), statistics.cell_task.tolist()],
        "common": commons,
        "cuts": [[*key, cuts] for key, cuts in sorted(statistics.cuts.items())],
        "watch": watch,
        "voices": voices,
        "joined": dict(sorted(learner.joined.items())),
        "texts": texts,
        "arrays": [[name, list(a.shape)] for name, a in arrays],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    body = struct.pack("<I", len(text)) + text + b"".join(np.ascontiguousarray(a, dtype="<f8").tobytes() for _, a in arrays)
    return _MAGIC + hashlib.blake2b(body, digest_size=16).digest() + body


def load(blob: bytes, facts: Mapping[str, ArmFacts]) -> Learner:
    """Restore a learner; ``facts`` are what the catalogue says of the models today.

    Raises
    ------
    IncompatibleState
        The bytes are damaged, or were written under another feature schema or format.
    """
    if blob[:8] != _MAGIC:
        raise IncompatibleState("the snapshot has another format; rebuild the state from the log")
    body = blob[24:]
    if hashlib.blake2b(body, digest_size=16).digest() != blob[8:24]:
        raise IncompatibleState("the snapshot is damaged (checksum differs); rebuild the state from the log")
    (length,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + length])
    if header["schema"] != SCHEMA_VERSION:
        raise IncompatibleState(
            f"the snapshot has feature schema {header['schema']}, this release reads {SCHEMA_VERSION}; rebuild the state from the log"
        )
    arrays: dict[str, Any] = {}
    offset = 4 + length
    for name, shape in header["arrays"]:
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(body, dtype="<f8", count=count, offset=offset).reshape(shape).copy()
        offset += 8 * count
    statistics = Statistics.restore(
        half_life=header["half_life"],
        position=(header["anchor"], header["now"], header["seq"], header["folded"]),
        models=header["models"],
        task_types=header["task_types"],
        cells=header["cells"],
        sums={name: arrays[name] for name in (*_SUMS, *_COUNTS)},
    )
    commons, counters = [], []
    for target in Target:
        numbers = header["common"][target]
        commons.append(
            Common(
                **{n: arrays[f"{target.name}.{n}"] for n in _COMMON_ARRAYS},
                **{n: numbers.pop(n) for n in _COMMON_NUMBERS},
            )
        )
        counters.append(numbers)
    for target_index, cell, cuts in header["cuts"]:
        statistics.cuts[target_index, cell] = [(before, share) for before, share in cuts]
    statistics.voices = Voices.restore(header["voices"], arrays)
    watch = Watch.restore(header["watch"], arrays["kept"])
    half_life, kept = statistics.half_life, header.get("texts", {})
    if any("voices" not in told for told in kept.values()):
        raise IncompatibleState("the snapshot keeps what texts tell in another way; rebuild the state from the log")
    texts = {int(kind): TextEvidence.restore(half_life, told, arrays, f"text.{kind}.") for kind, told in kept.items()}
    return Learner.restore(statistics, commons, counters, facts, watch, header["joined"], texts)
