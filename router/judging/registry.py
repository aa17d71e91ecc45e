"""Judges by name. A module is imported when its judge is first made, so that unused ones cost nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from router.errors import ConfigurationInvalid
from router.judging.protocol import Answer, Ask, AskingJudge, Case, Judge, Verdict


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a judge lives."""

    module: str
    attribute: str
    asks: bool = False
    """It asks a model."""


JUDGES: Mapping[str, Entry] = {
    "exact": Entry("router.judging.exact", "Exact"),
    "numeric": Entry("router.judging.numeric", "Numeric"),
    "regex": Entry("router.judging.regex", "Regex"),
    "contains": Entry("router.judging.contains", "Contains"),
    "label": Entry("router.judging.label", "Label"),
    "json_schema": Entry("router.judging.json_schema", "JsonSchema"),
    "code": Entry("router.judging.code", "Code"),
    "similarity": Entry("router.judging.similarity", "Similarity"),
    "rubric": Entry("router.judging.rubric", "Rubric", asks=True),
    "pairwise": Entry("router.judging.pairwise", "Pairwise", asks=True),
}


def make(name: str, **parameters: Any) -> Judge | AskingJudge:
    """Build a judge.

    Raises ``ConfigurationInvalid`` where no judge has that name or takes such a parameter, ``JudgeUnavailable`` with the remedy where
    something that it needs is missing.
    """
    entry = JUDGES.get(name)
    if entry is None:
        raise ConfigurationInvalid("no judge has that name", field="judge", remedy=f"choose one of {', '.join(JUDGES)}")
    made = getattr(import_module(entry.module), entry.attribute)
    known = {field.name for field in fields(made) if field.init}
    if unknown := set(parameters) - known:
        remedy = f"it takes {', '.join(sorted(known)) or 'none'}"
        raise ConfigurationInvalid(f"judge {name} has no parameter {', '.join(sorted(unknown))}", field="judge", remedy=remedy)
    judge: Judge | AskingJudge = made(**parameters)
    return judge


def missing(judge: Judge | AskingJudge, case: Case) -> tuple[str, ...]:
    """Fields that the judge needs and the case lacks; empty: it can judge."""
    return tuple(name for name in judge.needs if getattr(case, name) in (None, (), ""))


async def verdict(judge: Judge | AskingJudge, case: Case, answer: Answer, ask: Ask | None = None) -> Verdict:
    """Have any judge score an answer, off the event loop where it asks nobody; what it needs and lacks gives no score.

    Raises ``JudgeUnavailable``, what ``ask`` raises, ``ConfigurationInvalid`` where a judge asks a model and there is no ``ask``.
    """
    if lacks := missing(judge, case):
        return Verdict(None, judge.name, judge.version, f"the case has no {', '.join(lacks)}")
    if not isinstance(judge, AskingJudge):
        return await asyncio.to_thread(judge.judge, case, answer)
    if ask is None:
        remedy = "name a provider that has its SDK and its key"
        raise ConfigurationInvalid(f"judge {judge.name} asks a model, and none can be called", field="judge", remedy=remedy)
    return await judge.ask(case, answer, ask)
