"""Battery files: YAML in, a checked battery out; and the list of those that ship."""

import base64
import hashlib
import json
import mimetypes
import random
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml

from router.batteries.generators.registry import GENERATORS
from router.domain.battery import Battery, Case, JudgeUse, RateLimit, Section
from router.domain.models import Capability
from router.errors import ConfigurationInvalid

MOST_CASES = 20_000
_T = TypeVar("_T")

_BATTERY = frozenset(("name", "title", "models", "baseline", "repetitions", "temperature", "measure", "limits", "sections"))
_SECTION = frozenset(
    ("task_type", "agents", "system", "generate", "cases", "judges", "max_output_tokens", "expected_output_tokens", "needs")
)
_CASE = frozenset(("id", "prompt", "reference", "wrong", "image", "expect"))
_GENERATE = frozenset(("kind", "count", "seed"))
_JUDGE = frozenset(("judge", "metric", "options"))
_LIMIT = frozenset(("concurrency", "per_minute"))


def shipped() -> dict[str, Path]:
    """The batteries that ship, by name."""
    folder = Path(str(files("router").joinpath("batteries", "data")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load(name: str) -> Battery:
    """Read a battery: a path, or the name of one that ships.

    Raises ``ConfigurationInvalid`` naming the field and the remedy.
    """
    known = shipped()
    path = known.get(name) or Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationInvalid(
            "the battery file cannot be read", field="file", remedy=f"name a file, or one that ships: {', '.join(known)}"
        ) from exc
    try:
        raw = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, the one written in C where there is one
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark is not None else "file"
        raise ConfigurationInvalid("the battery file is not YAML", field=place, remedy="correct the file there") from None
    return parse(raw, path.parent)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(raw: object, folder: Path) -> Battery:
    """Build a battery from the shape of a file; pictures are read from ``folder``.

    Raises ``ConfigurationInvalid``.
    """
    top = _table(raw, _BATTERY, "battery")
    name = _need(top, "name", str, "battery")
    models = tuple(_list(top, "models", str, "battery"))
    if not models or len(set(models)) < len(models):
        raise _wrong("models", "list at least one model id, and each once")
    baseline = _get(top, "baseline", str, models[0], "battery")
    if baseline not in models:
        raise _wrong("baseline", "name one of the battery's models")
    sections = tuple(_section(entry, folder, i) for i, entry in enumerate(_list(top, "sections", dict, "battery")))
    if not sections or len({section.task_type for section in sections}) < len(sections):
        raise _wrong("sections", "write at least one section, and one per task type")
    repetitions = _get(top, "repetitions", int, 1, "battery")
    if not 1 <= repetitions <= 100:
        raise _wrong("repetitions", "write a whole number from 1 to 100")
    if sum(len(section.cases) for section in sections) > MOST_CASES:
        raise _wrong("sections", f"keep to {MOST_CASES:,} cases in a battery")
    temperature = top.get("temperature", 0.0)
    if temperature is not None and not (isinstance(temperature, int | float) and 0 <= temperature <= 2):
        raise _wrong("temperature", "write a number from 0 to 2, or null for each model's own")
    limits = {str(provider): _limit(entry, f"limits.{provider}") for provider, entry in _get(top, "limits", dict, {}, "battery").items()}
    battery = Battery(
        name=name,
        title=_get(top, "title", str, name, "battery"),
        models=models,
        sections=sections,
        baseline=baseline,
        repetitions=repetitions,
        temperature=None if temperature is None else float(temperature),
        measure=_get(top, "measure", str, "char-ngram", "battery"),
        limits=limits,
    )
    return replace(battery, digest=_digest(battery))


def _section(entry: object, folder: Path, number: int) -> Section:
    where = f"sections[{number}]"
    raw = _table(entry, _SECTION, where)
    cases: list[Case] = []
    if "generate" in raw:
        cases += _generated(_table(raw["generate"], _GENERATE, f"{where}.generate"), f"{where}.generate")
    cases += [_case(given, folder, f"{where}.cases[{i}]") for i, given in enumerate(_get(raw, "cases", list, [], where))]
    if not cases or len({case.id for case in cases}) < len(cases):
        raise _wrong(f"{where}.cases", "write cases with different ids, or let them be generated")
    judges = tuple(_judge(given, f"{where}.judges[{i}]") for i, given in enumerate(_list(raw, "judges", dict, where)))
    if not any(use.metric == "quality" for use in judges):
        raise _wrong(f"{where}.judges", "let at least one judge have the metric quality")
    most = _get(raw, "max_output_tokens", int, 512, where)
    expected = _get(raw, "expected_output_tokens", int, None, where)
    agents = _get(raw, "agents", int, 1, where)
    if most < 1 or agents < 1 or (expected is not None and not 1 <= expected <= most):
        raise _wrong(where, "max_output_tokens and agents count from 1, expected_output_tokens up to max_output_tokens")
    try:
        needs = frozenset(Capability(word) for word in _get(raw, "needs", list, [], where))
    except ValueError:
        raise _wrong(f"{where}.needs", f"use {', '.join(Capability)}") from None
    return Section(
        task_type=_need(raw, "task_type", str, where),
        cases=tuple(cases),
        judges=judges,
        agents=agents,
        system=_get(raw, "system", str, None, where),
        max_output_tokens=most,
        expected_output_tokens=expected,
        needs=needs,
    )


def _generated(raw: Mapping[str, Any], where: str) -> list[Case]:
    kind, count = _need(raw, "kind", str, where), _need(raw, "count", int, where)
    if kind not in GENERATORS:
        raise _wrong(f"{where}.kind", f"use {', '.join(GENERATORS)}")
    if not 1 <= count <= MOST_CASES:
        raise _wrong(f"{where}.count", f"write a whole number from 1 to {MOST_CASES:,}")
    return GENERATORS[kind](random.Random(_get(raw, "seed", int, 0, where)), count)


def _case(entry: object, folder: Path, where: str) -> Case:
    raw = _table(entry, _CASE, where)
    image = _get(raw, "image", str, None, where)
    return Case(
        id=_need(raw, "id", str, where),
        prompt=_need(raw, "prompt", str, where),
        reference=_need(raw, "reference", str, where),
        wrong=_get(raw, "wrong", str, None, where),
        image=image if image is None or image.startswith("data:") else _picture(folder / image, where),
        expect={name: tuple(value) if isinstance(value, list) else value for name, value in _get(raw, "expect", dict, {}, where).items()},
    )


def _picture(path: Path, where: str) -> str:
    kind = mimetypes.guess_type(path.name)[0] or ""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigurationInvalid(
            "a picture cannot be read", field=f"{where}.image", remedy="give its path from the battery file"
        ) from exc
    if not kind.startswith("image/"):
        raise _wrong(f"{where}.image", "name a png, jpeg, webp or gif file")
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _judge(entry: object, where: str) -> JudgeUse:
    raw = _table(entry, _JUDGE, where)
    name = _need(raw, "judge", str, where)
    return JudgeUse(name, _get(raw, "metric", str, "quality", where), _get(raw, "options", dict, {}, where))


def _limit(entry: object, where: str) -> RateLimit:
    raw = _table(entry, _LIMIT, where)
    concurrency, per_minute = _get(raw, "concurrency", int, 4, where), raw.get("per_minute")
    if not 1 <= concurrency <= 256:
        raise _wrong(f"{where}.concurrency", "write a whole number from 1 to 256")
    if per_minute is not None and not (isinstance(per_minute, int | float) and per_minute > 0):
        raise _wrong(f"{where}.per_minute", "write how many calls a minute, above zero")
    return RateLimit(concurrency, None if per_minute is None else float(per_minute))


def _digest(battery: Battery) -> str:
    """Of everything that decides what is asked and how it is judged; how fast it is asked does not."""
    asked = replace(battery, limits={}, title="")
    text = json.dumps(asdict(asked), sort_keys=True, separators=(",", ":"), default=sorted)
    return hashlib.sha256(text.encode()).hexdigest()


def _table(raw: object, known: frozenset[str], where: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise _wrong(where, f"write a table of {', '.join(sorted(known))}")
    if unknown := sorted(str(key) for key in raw if key not in known):
        raise _wrong(f"{where}.{unknown[0]}"[:80], f"use only {', '.join(sorted(known))}")
    return raw


def _need(raw: Mapping[str, Any], key: str, kind: type[_T], where: str) -> _T:
    value: _T | None = _get(raw, key, kind, None, where)
    if value is None or value == "":
        raise _wrong(f"{where}.{key}", "add it")
    return value


def _get(raw: Mapping[str, Any], key: str, kind: type[_T], default: Any, where: str) -> Any:
    value = raw.get(key, default)
    if value is default:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _wrong(f"{where}.{key}", f"write a {_NAMES[kind]}")
    return value


def _list(raw: Mapping[str, Any], key: str, kind: type[_T], where: str) -> list[_T]:
    found = _get(raw, key, list, None, where)
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise _wrong(f"{where}.{key}", f"write a list of {_NAMES[kind]}s")
    return found


_NAMES: Mapping[type, str] = {str: "text", int: "whole number", list: "list", dict: "table"}


def _wrong(field: str, remedy: str) -> ConfigurationInvalid:
    return ConfigurationInvalid("the battery file cannot be used", field=field, remedy=remedy)
