"""The catalogue of models: an immutable value over dated facts, loaded from data and changed by making a new one."""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from router.domain.models import Capability, Modality, Model, Price, SpeedFacts
from router.domain.prices import moment
from router.errors import ConfigurationInvalid, ModelNotFound, TaskInvalid

_ID = re.compile(r"[a-z0-9][a-z0-9_-]*/[^\s/]\S*")
_MODEL_KEYS = frozenset(
    (
        "id",
        "family",
        "context_window",
        "max_output_tokens",
        "modalities",
        "capabilities",
        "price",
        "speed",
        "source",
        "checked",
        "retired",
        "tags",
    )
)
_RATES = {
    "input": "input_usd_per_mtok",
    "output": "output_usd_per_mtok",
    "cached_input": "cached_input_usd_per_mtok",
    "cache_write": "cache_write_usd_per_mtok",
    "reasoning": "reasoning_usd_per_mtok",
    "image": "usd_per_image",
    "hardware_s": "usd_per_hardware_s",
}
_PRICE_KEYS = frozenset((*_RATES, "effective_from", "source", "checked"))
_SPEED_KEYS = frozenset(("ttft_s", "output_tokens_per_s", "source", "checked"))
_FILE_KEYS = frozenset(("checked", "models"))
_E = TypeVar("_E", bound=StrEnum)


class Catalog:
    """Models by id, in id order. Every change returns a new catalogue; ``version`` differs wherever any fact does."""

    def __init__(self, models: Iterable[Model] = ()) -> None:
        by_id: dict[str, Model] = {}
        for model in models:
            if model.id in by_id:
                raise TaskInvalid(f"model {model.id!r} is listed twice", field="id", remedy="keep one entry per id")
            by_id[model.id] = validated(model)
        self._by_id = {model_id: by_id[model_id] for model_id in sorted(by_id)}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, model_id: object) -> bool:
        return model_id in self._by_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self._by_id == other._by_id

    def __hash__(self) -> int:
        return hash(self.version)

    def __repr__(self) -> str:
        return f"Catalog({len(self)} models, version {self.version})"

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """All models, retired ones included, in id order."""
        return tuple(self._by_id.values())

    @cached_property
    def active(self) -> tuple[Model, ...]:
        """The models that are not retired, in id order."""
        return tuple(model for model in self if not model.retired)

    @cached_property
    def version(self) -> str:
        """A short hash over every fact of every model."""
        text = json.dumps([asdict(model) for model in self], default=sorted, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def get(self, model_id: str) -> Model:
        """The model with that id.

        Raises ``ModelNotFound``.
        """
        try:
            return self._by_id[model_id]
        except KeyError:
            raise ModelNotFound(
                "no model has that id", field="model", remedy="GET /v1/models lists the ids; they have the form provider/name"
            ) from None

    def with_model(self, model: Model) -> "Catalog":
        """Add a model, or change the one with its id and count its version up. The same facts again change nothing.

        Raises ``TaskInvalid`` naming the field.
        """
        known = self._by_id.get(model.id)
        if known is None:
            return Catalog((*self, replace(model, version=1)))
        if replace(model, version=known.version) == known:
            return self
        return self.merged((replace(model, version=known.version + 1),))

    def merged(self, models: Iterable[Model]) -> "Catalog":
        """Put models over those with the same ids, keeping the versions they bring (how stored changes are replayed).

        Raises ``TaskInvalid`` naming the field.
        """
        return Catalog((self._by_id | {model.id: model for model in models}).values())

    def retire(self, model_id: str) -> "Catalog":
        """Take a model out of routing; it stays listed, and ``with_model`` brings it back.

        Raises ``ModelNotFound``.
        """
        return self.with_model(replace(self.get(model_id), retired=True))


def validated(model: Model) -> Model:
    """Return the model unchanged.

    Raises ``TaskInvalid`` naming the first field that cannot be used, and the remedy.
    """
    if not _ID.fullmatch(model.id) or len(model.id) > 200:
        raise TaskInvalid(
            "a model id is not usable", field="id", remedy="use provider/name: a lower-case provider, no blanks, at most 200 characters"
        )
    if f"{model.provider}/{model.name}" != model.id:
        raise TaskInvalid(
            f"model {model.id!r}: id is not provider/name", field="id", remedy="make the id the provider, a slash and the name"
        )
    _whole(model.id, "context_window", model.context_window)
    if model.max_output_tokens is not None:
        _whole(model.id, "max_output_tokens", model.max_output_tokens)
        if model.max_output_tokens > model.context_window:
            raise TaskInvalid(
                f"model {model.id!r}: max_output_tokens {model.max_output_tokens:,} exceeds the window of {model.context_window:,}",
                field="max_output_tokens",
                remedy="leave it out where only the window limits the output",
            )
    if not model.family.strip():
        raise TaskInvalid(
            f"model {model.id!r}: family is empty",
            field="family",
            remedy="name the family, e.g. 'llama-3.1': no model judges its own family's answers",
        )
    if Modality.TEXT not in model.modalities:
        raise TaskInvalid(
            f"model {model.id!r}: modalities lack 'text'", field="modalities", remedy="list 'text' and what else the model reads"
        )
    if model.price is not None:
        for name, attribute in _RATES.items():
            value = getattr(model.price, attribute)
            if value is not None:
                _amount(model.id, f"price.{name}", value, remedy="give USD per million tokens; leave the price out where it is unknown")
        if model.price.effective_from and moment(model.price.effective_from) is None:
            raise TaskInvalid(
                f"model {model.id!r}: price.effective_from is no date", field="price.effective_from", remedy="write it as 2026-11-23"
            )
    if model.speed is not None:
        _amount(model.id, "speed.ttft_s", model.speed.ttft_s, remedy="give seconds to the first token")
        _amount(
            model.id,
            "speed.output_tokens_per_s",
            model.speed.output_tokens_per_s,
            remedy="give tokens per second, above zero",
            positive=True,
        )
    if isinstance(model.version, bool) or not isinstance(model.version, int) or model.version < 1:
        raise TaskInvalid(
            f"model {model.id!r}: version must count from 1", field="version", remedy="leave the version out: it is counted for you"
        )
    return model


def _whole(model_id: str, field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise TaskInvalid(
            f"model {model_id!r}: {field} must be a whole number of tokens above zero",
            field=field,
            remedy=f"set {field} to what the provider publishes",
        )


def _amount(model_id: str, field: str, value: object, *, remedy: str, positive: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise TaskInvalid(
            f"model {model_id!r}: {field} must be a finite number, {'above' if positive else 'at least'} zero", field=field, remedy=remedy
        )


def model_from(entry: Mapping[str, Any], *, base: Model | None = None, checked: str = "") -> Model:
    """Build a model from an entry of a catalogue file; with ``base``, change only what the entry names.

    ``price = false`` makes a known price unknown again.
    Raises ``TaskInvalid`` naming the field.
    """
    _known_keys(entry, _MODEL_KEYS, "")
    model_id = entry.get("id", base.id if base else "")
    if not isinstance(model_id, str) or not _ID.fullmatch(model_id):
        raise TaskInvalid(
            "a model id is not usable", field="id", remedy="use provider/name: a lower-case provider, no blanks, at most 200 characters"
        )
    if base is None and (missing := [key for key in ("family", "context_window") if key not in entry]):
        raise TaskInvalid(f"model {model_id!r} lacks {missing[0]}", field=missing[0], remedy=f"add {missing[0]} to the entry")
    provider, _, name = model_id.partition("/")
    model = base or Model(id=model_id, provider=provider, name=name, family="", context_window=0, checked=checked)
    changes: dict[str, Any] = {key: entry[key] for key in ("context_window", "max_output_tokens", "retired") if key in entry}
    changes |= {key: _text(entry, key, "") for key in ("family", "source", "checked") if key in entry}
    if not isinstance(changes.get("retired", False), bool):
        raise TaskInvalid(f"model {model_id!r}: retired must be true or false", field="retired", remedy="write retired = true")
    if "modalities" in entry:
        changes["modalities"] = _members(model_id, "modalities", entry["modalities"], Modality)
    if "capabilities" in entry:
        changes["capabilities"] = _members(model_id, "capabilities", entry["capabilities"], Capability)
    if "tags" in entry:
        changes["tags"] = frozenset(_strings(model_id, "tags", entry["tags"]))
    if "price" in entry:
        changes["price"] = _price(model_id, entry["price"], checked)
    if "speed" in entry:
        changes["speed"] = _speed(model_id, entry["speed"], checked)
    return validated(replace(model, **changes))


def _price(model_id: str, raw: object, checked: str) -> Price | None:
    if raw is False or raw is None:
        return None
    table = _table(model_id, "price", raw, _PRICE_KEYS, ("input", "output"))
    rates = {attribute: _number(model_id, table, "price.", name) for name, attribute in _RATES.items() if name in table}
    return Price(
        **rates,
        effective_from=_text(table, "effective_from", "price."),
        source=_text(table, "source", "price."),
        checked=_text(table, "checked", "price.", checked),
    )


def _speed(model_id: str, raw: object, checked: str) -> SpeedFacts | None:
    if raw is False or raw is None:
        return None
    table = _table(model_id, "speed", raw, _SPEED_KEYS, ("ttft_s", "output_tokens_per_s"))
    return SpeedFacts(
        _number(model_id, table, "speed.", "ttft_s"),
        _number(model_id, table, "speed.", "output_tokens_per_s"),
        _text(table, "source", "speed."),
        _text(table, "checked", "speed.", checked),
    )


def _table(model_id: str, field: str, raw: object, known: frozenset[str], required: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise TaskInvalid(
            f"model {model_id!r}: {field} must be a table", field=field, remedy=f"give {', '.join(required)}, or false where unknown"
        )
    _known_keys(raw, known, f"{field}.")
    for key in required:
        if key not in raw:
            raise TaskInvalid(
                f"model {model_id!r}: {field} lacks {key}", field=f"{field}.{key}", remedy=f"add {key}, or leave {field} out where unknown"
            )
    return raw


def _known_keys(table: Mapping[str, Any], known: frozenset[str], prefix: str) -> None:
    if unknown := sorted(set(table) - known):
        raise TaskInvalid(
            f"{len(unknown)} key(s) of a catalogue entry are not known",
            field=f"{prefix}{unknown[0]}"[:80],
            remedy=f"use only {', '.join(sorted(known))}",
        )


def _text(table: Mapping[str, Any], key: str, prefix: str, default: str = "") -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise TaskInvalid(f"{prefix}{key} must be text", field=f"{prefix}{key}", remedy='put the value in quotes (dates too: "2026-11-23")')
    return value


def _number(model_id: str, table: Mapping[str, Any], prefix: str, key: str) -> float:
    _amount(model_id, prefix + key, table[key], remedy="give a number, or leave the table out where it is unknown")
    return float(table[key])


def _strings(model_id: str, field: str, raw: object) -> list[str]:
    items = list(raw) if isinstance(raw, Iterable) and not isinstance(raw, str) else [None]
    words = [item for item in items if isinstance(item, str)]
    if len(words) != len(items):
        raise TaskInvalid(f"model {model_id!r}: {field} must be a list of words", field=field, remedy=f'write {field} = ["…"]')
    return words


def _members(model_id: str, field: str, raw: object, kind: type[_E]) -> frozenset[_E]:
    names = _strings(model_id, field, raw)
    try:
        return frozenset(kind(name) for name in names)
    except ValueError:
        raise TaskInvalid(f"model {model_id!r}: {field} has an unknown word", field=field, remedy=f"use {', '.join(kind)}") from None


def _merge_entries(raw: Mapping[str, Any], base: Catalog) -> Catalog:
    _known_keys(raw, _FILE_KEYS, "")
    entries = raw.get("models", [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise TaskInvalid("models must be a list of tables", field="models", remedy="write one [[models]] table per model")
    checked = _text(raw, "checked", "")
    catalog, seen = base, set[str]()
    changed: list[Model] = []
    for entry in entries:
        model_id = str(entry.get("id", ""))
        model = model_from(entry, base=catalog.get(model_id) if model_id in catalog else None, checked=checked)
        if model.id in seen:
            raise TaskInvalid(f"model {model.id!r} is listed twice", field="id", remedy="keep one entry per id")
        seen.add(model.id)
        if model.id not in catalog:
            changed.append(model)
        elif model != catalog.get(model.id):
            changed.append(replace(model, version=model.version + 1))
    return catalog.merged(changed)


def load_shipped() -> Catalog:
    """The catalogue that ships with this release."""
    text = files("router").joinpath("catalog_data", "models.toml").read_text(encoding="utf-8")
    return _merge_entries(tomllib.loads(text), Catalog())


def load_file(path: str | Path, base: Catalog | None = None) -> Catalog:
    """Put an operator's TOML or JSON file over ``base`` (the shipped catalogue): new ids are added, known ones changed key by key.

    Raises ``ConfigurationInvalid`` naming the field.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as exc:
        raise ConfigurationInvalid(
            f"catalogue file {path.name!r} cannot be read", field="catalog", remedy="give a path this process may read"
        ) from exc
    except ValueError as exc:
        raise ConfigurationInvalid(
            f"catalogue file {path.name!r} is not TOML or JSON: {exc}", field="catalog", remedy="correct the file there"
        ) from exc
    try:
        if not isinstance(raw, dict):
            raise TaskInvalid("a catalogue file is a table", field="models", remedy='start with {"models": [...]}')
        return _merge_entries(raw, load_shipped() if base is None else base)
    except TaskInvalid as exc:
        raise ConfigurationInvalid(f"catalogue file {path.name!r}: {exc.message}", field=exc.field, remedy=exc.remedy) from exc
