"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import learning

MODULES = [m.name for m in pkgutil.walk_packages(learning.__path__, "learning.")] + ["router.domain.published"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    assert sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES) >= 5
