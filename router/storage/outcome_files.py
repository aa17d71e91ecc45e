"""Reads tables of recorded outcomes from parquet or csv."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from router.domain.outcome_table import FloatArray, OutcomeTable
from router.errors import TaskInvalid

REQUIRED = ("prompt_id", "task_type", "model", "quality")
OPTIONAL = ("cost_usd", "input_tokens", "output_tokens", "latency_s")
ERA = "era"
PROMPT = "prompt"
_TYPICAL_CONTEXT = 1_000


def read_outcomes(path: str | Path, project: Callable[[str], bytes] | None = None) -> OutcomeTable:
    """Read a table; columns beyond the known ones are ignored. Prompts keep the file's order, within their ``era`` where there is one.

    With ``project`` the column ``prompt`` is read too, of each prompt the first text, and let go once it is projected.

    Raises ``TaskInvalid`` naming the column and the remedy.
    """
    columns = _columns(Path(path), REQUIRED if project is None else (*REQUIRED, PROMPT))
    quality = columns["quality"]
    kept = np.flatnonzero(~np.isnan(quality))
    if not len(kept):
        raise TaskInvalid("the table has no row with a quality", field="quality", remedy="give quality in [0, 1] for at least one row")
    if quality[kept].min() < 0 or quality[kept].max() > 1:
        raise TaskInvalid("quality must lie in [0, 1]", field="quality", remedy="rescale the column")
    _, era = _codes(columns[ERA][kept])
    names, prompt = _codes(columns["prompt_id"][kept])
    models, model = np.unique(columns["model"][kept], return_inverse=True)
    keys, first_row, visit = np.unique(era * len(names) + prompt, return_index=True, return_inverse=True)
    rank = np.lexsort((first_row, keys // len(names)))  # eras in their order of appearance, the file's order within
    position = np.empty_like(rank)
    position[rank] = np.arange(len(rank))
    n_prompts, n_models = len(keys), len(models)
    cell = position[visit] * n_models + model
    count = np.bincount(cell, minlength=n_prompts * n_models)
    numbers = {name: columns[name][kept] for name in ("quality", *OPTIONAL)}
    heads = first_row[rank]
    texts = () if project is None else tuple(project(text) for text in columns[PROMPT][kept][heads].tolist())
    return OutcomeTable(
        prompt_ids=tuple(names[i] for i in prompt[heads].tolist()),
        task_types=tuple(columns["task_type"][kept][heads].tolist()),
        context_tokens=_typical(numbers["input_tokens"], position[visit], n_prompts),
        models=tuple(models.tolist()),
        order=np.argsort(cell, kind="stable"),
        first=(np.cumsum(count) - count).reshape(n_prompts, n_models),
        count=count.reshape(n_prompts, n_models),
        dropped=len(quality) - len(kept),
        texts=texts,
        **numbers,
    )


def _codes(values: "np.ndarray[Any, Any]") -> tuple[list[str], "np.ndarray[Any, np.dtype[np.int64]]"]:
    """Distinct values in order of appearance, and the code of each value."""
    names, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    code = np.empty(len(order), dtype=np.int64)
    code[order] = np.arange(len(order))
    return names[order].tolist(), code[inverse]


def _typical(tokens: FloatArray, prompt: "np.ndarray[Any, Any]", n: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    known = ~np.isnan(tokens)
    total = np.bincount(prompt[known], tokens[known], minlength=n)
    rows = np.bincount(prompt[known], minlength=n)
    return np.where(rows > 0, np.round(total / np.maximum(rows, 1)), _TYPICAL_CONTEXT).astype(np.int64)


def _columns(path: Path, required: Sequence[str]) -> dict[str, "np.ndarray[Any, Any]"]:
    table = _read(path)
    present = set(table.column_names)
    for name in required:
        if name not in present:
            raise TaskInvalid(
                f"the table has no column {name}",
                field=name,
                remedy=f"it needs the columns {', '.join(required)}; these are optional: {', '.join(OPTIONAL)}, {ERA}",
            )
    rows = table.num_rows
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for name in ("prompt_id", "task_type", "model"):
        columns[name] = np.array([str(v) if v is not None else "unknown" for v in table[name].to_pylist()], dtype=object)
    if PROMPT in required:
        columns[PROMPT] = np.array([str(v) if v is not None else "" for v in table[PROMPT].to_pylist()], dtype=object)
    columns[ERA] = np.array([str(v) for v in table[ERA].to_pylist()], dtype=object) if ERA in present else np.full(rows, "", dtype=object)
    for name in ("quality", *OPTIONAL):
        columns[name] = _numbers(table, name) if name in present else np.full(rows, np.nan)
    return columns


def _numbers(table: Any, name: str) -> FloatArray:
    import pyarrow as pa

    try:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise TaskInvalid(f"column {name} must hold numbers", field=name, remedy="leave unknown values empty") from exc


def _read(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv, parquet

    if not path.is_file():
        raise TaskInvalid("the table does not exist or is not a file", field="table", remedy="give the path of a .parquet or .csv file")
    try:
        return csv.read_csv(path) if path.suffix.lower() == ".csv" else parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as exc:
        raise TaskInvalid("the table cannot be read as parquet or csv", field="table", remedy="check the file's format and ending") from exc
