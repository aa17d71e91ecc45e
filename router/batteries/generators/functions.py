"""Small functions to write, with tests whose right results come from a model solution that runs here."""

import inspect
import random
from collections.abc import Callable
from typing import Any

from router.batteries.generators import solutions
from router.domain.battery import Case

Arguments = Callable[[random.Random], tuple[Any, ...]]
_TESTS = 6


def make(rng: random.Random, count: int) -> list[Case]:
    """Every solution in turn; beyond their number again, with other tests."""
    names = rng.sample(list(solutions.ARGUMENTS), len(solutions.ARGUMENTS))
    return [_case(rng, names[number % len(names)], number) for number in range(count)]


def _case(rng: random.Random, name: str, number: int) -> Case:
    solve, draw = getattr(solutions, name), solutions.ARGUMENTS[name]
    signature = str(inspect.signature(solve))
    asked = inspect.getdoc(solve) or ""
    tests = []
    for _ in range(_TESTS):
        arguments = draw(rng)
        tests.append(f"assert {name}({', '.join(map(repr, arguments))}) == {solve(*arguments)!r}")
    prompt = (
        f"Write a Python function `{name}{signature}`. {asked}\n\n"
        "Answer with one fenced block of Python code: the function, with a docstring and a comment where something is not obvious."
    )
    body = f"def {name}{signature}:\n    # left for later\n    raise NotImplementedError\n"
    return Case(
        f"function-{number + 1:03}",
        prompt,
        f"```python\n{inspect.getsource(solve)}```",
        f"```python\n{body}```",
        expect={"tests": tuple(tests)},
    )
