"""Reads the rows of exported files one by one: CSV, JSON lines, or one JSON array, which may be the ``data`` of an object, each as it is
or packed by gzip; and parquet.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from router.errors import TaskInvalid

_CHUNK = 1 << 20
_LARGEST = 1 << 26
"""Characters of one row: beyond that the file is taken to be broken."""
_OPENED = re.compile(r'\s*(?:\{\s*"data"\s*:\s*)?\[')
_GAP = re.compile(r"[\s,]*")
_TELL_EVERY = 2_000
_PACKED, _PARQUET = ".gz", ".parquet"


def read_rows(path: Path, needed: tuple[str, ...], tell: Callable[[int], None]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Every row with the number of its line; None for a line that is no JSON object. ``tell`` hears how many bytes are read.

    Raises ``TaskInvalid`` naming the file's fault and the remedy.
    """
    packed = path.suffix.lower() == _PACKED
    kind = (Path(path.stem) if packed else path).suffix.lower()
    try:
        with path.open("rb") as raw, ExitStack() as opened:
            if kind == _PARQUET and not packed:
                numbered = _parquet(raw, path, needed)
            else:
                plain = gzip.GzipFile(fileobj=raw) if packed else raw
                file = opened.enter_context(TextIOWrapper(plain, encoding="utf-8-sig", newline=""))
                numbered = _rows(file, path, kind, needed)
            for count, (line, row) in enumerate(numbered):
                if count % _TELL_EVERY == 0:
                    tell(raw.tell())
                yield line, row if isinstance(row, dict) else None
            tell(raw.tell())
    except UnicodeDecodeError as exc:
        raise _fault(path, "is not text in UTF-8", "export as CSV, JSON, JSONL or parquet; .gz is unpacked by itself") from exc
    except (gzip.BadGzipFile, EOFError, zlib.error) as exc:
        raise _fault(path, "is no whole gzip file", "export or copy it again") from exc
    except OSError as exc:
        raise _fault(path, f"cannot be read ({exc.strerror})", "name a file that exists") from exc


def _rows(file: TextIO, path: Path, kind: str, needed: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    if kind == ".csv":
        return _csv(file, path, needed)
    start = file.read(_CHUNK)
    if _OPENED.match(start):
        return _array(file, path, start)
    file.seek(0)
    return _lines(file)


def _parquet(raw: BinaryIO, path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa  # here: no other kind of file needs it
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(raw)
        for name in needed:
            if name not in table.schema_arrow.names:
                raise _fault(path, f"has no column {name}", "export the whole table", field=name)
        number = 0
        micro = pa.schema([_micro(field) for field in table.schema_arrow])
        for batch in table.iter_batches(batch_size=_TELL_EVERY):
            for row in batch.cast(micro, safe=False).to_pylist(maps_as_pydicts="lossy"):
                number += 1
                yield number, _as_json(row)
    except pa.ArrowException as exc:
        raise _fault(path, "cannot be read as parquet", "export it again") from exc


def _micro(field: Any) -> Any:
    """A column with times to the microsecond at the finest: Python knows no finer ones."""
    import pyarrow as pa

    if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
        return field.with_type(pa.timestamp("us", field.type.tz))
    return field


def _as_json(value: Any) -> Any:
    """A value of a parquet column as JSON would hold it."""
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _csv(file: TextIO, path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(_LARGEST)  # of the process: the default refuses a long prompt, and nothing else of ours reads CSV by this module
    reader = csv.DictReader(file)
    try:
        for name in needed:
            if name not in (reader.fieldnames or ()):
                raise _fault(path, f"has no column {name}", "export the table with its header", field=name)
        while True:
            line = reader.line_num + 1
            row = next(reader, None)
            if row is None:
                return
            yield line, row
    except csv.Error as exc:
        raise _fault(path, f"is no CSV in line {reader.line_num}", "export it again") from exc


def _lines(file: TextIO) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                yield number, None


def _array(file: TextIO, path: Path, text: str) -> Iterator[tuple[int, Any]]:
    decode = json.JSONDecoder().raw_decode
    opened = _OPENED.match(text)
    at = opened.end() if opened else 0
    line = 1 + text.count("\n", 0, at)
    while True:
        gap = _GAP.match(text, at)
        end = gap.end() if gap else at
        line, at = line + text.count("\n", at, end), end
        if text[at : at + 1] == "]":
            return
        try:
            value, end = decode(text, at)
        except (ValueError, RecursionError) as exc:
            more = file.read(max(_CHUNK, len(text) - at)) if len(text) - at < _LARGEST else ""
            if not more:
                raise _fault(path, f"is no JSON from line {line} on, or ends there", "export it again") from exc
            text, at = text[at:] + more, 0
            continue
        yield line, value
        line, at = line + text.count("\n", at, end), end


def _fault(path: Path, what: str, remedy: str, field: str = "file") -> TaskInvalid:
    return TaskInvalid(f"{path.name} {what}", field=field, remedy=remedy)
