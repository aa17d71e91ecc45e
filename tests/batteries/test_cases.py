"""Every shipped case against its own judges: the reference is right, the wrong answer is wrong."""

from typing import Any

import pytest

from adapters.types import Message
from router.batteries.files import load, shipped
from router.judging.protocol import Answer, Case
from router.judging.reading import fenced
from router.judging.registry import make

MOST = 40
"""Cases of a section that are judged: they come from one generator."""


@pytest.mark.parametrize("name", shipped())
def test_judges_tell_right_answers_from_wrong_ones(name):
    for section in load(name).sections:
        judges = [make(use.judge, **use.options) for use in section.judges if use.metric == "quality" and use.judge != "code"]
        for case in section.cases[:MOST]:
            asked = Case(section.task_type, (Message("user", case.prompt),), reference=case.reference, **case.expect)
            for judge in judges:
                right, wrong = judge.judge(asked, Answer(case.reference)), judge.judge(asked, Answer(case.wrong or ""))
                assert right.score == 1.0, (case.id, judge.name, right.reason)
                assert wrong.score == 0.0, (case.id, judge.name, wrong.reason)


@pytest.mark.parametrize("name", ["8.6-orchestration-28", "8.7-orchestration-10", "9.1-code-generation", "matrix-5x6"])
def test_solutions_pass_their_tests_and_the_others_none(name):
    # here and not in the sandbox, which takes a process per answer: this code is our own
    for case in load(name).section("code_generation").cases:
        for test in case.expect["tests"]:
            passes(case.reference, test)
            with pytest.raises((AssertionError, NotImplementedError)):
                passes(case.wrong or "", test)


def passes(answer: str, test: str) -> None:
    world: dict[str, Any] = {}
    exec(fenced(answer, "python") or "", world)
    exec(test, world)
