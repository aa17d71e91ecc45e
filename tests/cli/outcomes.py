"""A small table of recorded outcomes whose truth is known."""

from pathlib import Path
from typing import Any

import numpy as np

MODELS = {"acme/dear": (0.9, 0.7, 0.01), "acme/cheap": (0.6, 0.7, 0.001), "acme/poor": (0.2, 0.2, 0.0005)}
"""Quality on `hard` and on `easy`, USD per call."""


def outcome_rows() -> list[dict[str, Any]]:
    """400 prompts of two types on three models, whose means are those above."""
    rng = np.random.default_rng(3)
    made = []
    for prompt in range(400):
        task_type = "hard" if prompt % 2 else "easy"
        for model, (hard, easy, cost) in MODELS.items():
            quality = float(rng.random() < (hard if task_type == "hard" else easy))
            row = {"prompt_id": f"p{prompt}", "task_type": task_type, "model": model, "quality": quality, "cost_usd": cost}
            made.append(row | {"input_tokens": 100, "output_tokens": 50, "latency_s": 1.0 + (model == "acme/dear"), "note": "ignored"})
    return made


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    header = list(rows[0])
    lines = [",".join(header), *(",".join(str(row[name]) for name in header) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path
