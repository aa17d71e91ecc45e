"""Says what is wrong with a field and what to send instead, without quoting what was sent."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_OURS = "pointsman_refused"
_SOURCES = frozenset({"body", "path", "query", "header"})
_FREE_KEYS = frozenset({"tags", "policy_parameters"})
"""Fields whose keys are the caller's own words."""
_SHAPES = frozenset({"[key]", "shape:object", "shape:preset", "shape:text", "shape:parts", "shape:null"})
"""Steps of a path that pydantic adds for alternatives; they name nothing in the request."""

_EXPECTED = {
    "missing": ("is missing", "add it"),
    "extra_forbidden": ("does not exist", "remove it or correct its name; /docs lists the fields"),
    "finite_number": ("is not a finite number", "send a finite number or leave it out; NaN and Infinity are no JSON numbers"),
    "int_from_float": ("is not a whole number", "send a whole number"),
    "int_type": ("is not a whole number", "send a whole number, without quotes"),
    "int_parsing": ("is not a whole number", "send a whole number"),
    "int_parsing_size": ("is too large a number", "send a number in the documented range"),
    "float_type": ("is not a number", "send a number, without quotes"),
    "float_parsing": ("is not a number", "send a number"),
    "string_type": ("is not text", "send text in quotes"),
    "string_too_short": ("is too short", "send at least {min_length} character(s) or leave it out"),
    "string_too_long": ("is too long", "send at most {max_length} characters"),
    "string_pattern_mismatch": (
        "has characters that are not allowed here",
        "names take letters, digits and . _ : / @ + -; /docs shows each pattern",
    ),
    "bool_type": ("is not true or false", "send true or false, without quotes"),
    "bool_parsing": ("is not true or false", "send true or false"),
    "list_type": ("is not a list", "send a list in square brackets"),
    "frozen_set_type": ("is not a list", "send a list in square brackets"),
    "dict_type": ("is not an object", "send an object in braces"),
    "model_type": ("is not an object", "send an object in braces"),
    "model_attributes_type": ("is not an object", "send an object in braces"),
    "too_short": ("has too few items", "send at least {min_length} item(s) or leave it out"),
    "too_long": ("has too many items", "send at most {max_length} items"),
    "greater_than": ("is out of range", "send a number above {gt}"),
    "greater_than_equal": ("is out of range", "send a number of at least {ge}"),
    "less_than": ("is out of range", "send a number below {lt}"),
    "less_than_equal": ("is out of range", "send a number of at most {le}"),
    "enum": ("is not one of the known words", "send {expected}"),
    "literal_error": ("is not one of the known words", "send {expected}"),
    "none_required": ("is not null", "leave it out"),
}
_UNREADABLE = frozenset({"json_invalid", "json_type", "string_unicode", "recursion_loop"})
_UNREADABLE_REMEDY = "send one JSON value in UTF-8, nested no deeper than the documented fields, with plain numbers"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, where, and the remedy."""

    field: str
    message: str
    remedy: str
    unreadable: bool = False


def refuse(field: str, message: str, remedy: str) -> PydanticCustomError:
    """The error that a validator raises for a rule between fields; ``field`` is relative to the object."""
    return PydanticCustomError(_OURS, "{message}", {"field": field, "message": message, "remedy": remedy})


def described(details: Sequence[Mapping[str, Any]]) -> Fault:
    """The first complaint of pydantic's list."""
    first = details[0]
    kind: str = first["type"]
    context: Mapping[str, Any] = first.get("ctx") or {}
    if kind in _UNREADABLE:
        return Fault("body", "cannot be read", _UNREADABLE_REMEDY, unreadable=True)
    field = field_path(first["loc"])
    if kind == _OURS:
        at = f"{field}.{context['field']}" if field != "body" else str(context["field"])
        return Fault(at, str(context["message"]), str(context["remedy"]))
    message, remedy = _EXPECTED.get(kind, ("cannot be used", "/docs shows what it may be"))
    return Fault(field, f"{field} {message}", remedy.format_map(context))


def field_path(location: Sequence[int | str]) -> str:
    """``constraints.max_cost_usd``, ``items[3].score``: names of fields only, never a key that is the caller's own word."""
    steps: list[str] = []
    for step in location:
        if isinstance(step, int):
            steps.append(f"[{step}]")
        elif step in _SHAPES or (step in _SOURCES and not steps):
            continue
        elif _NAME.fullmatch(step):
            steps.append(f".{step}" if steps else step)
        else:
            break
        if step in _FREE_KEYS:
            break
    return "".join(steps).lstrip(".") or "body"
