"""Adapters are found by name, imported late, and the errors say what to do."""

import inspect
import subprocess
import sys

import pytest

from adapters import errors
from adapters.errors import AdapterError, AdapterUnavailable, RateLimited
from adapters.registry import ADAPTERS, Entry, Listing, factory, listing
from adapters.types import Message, Text

BROKEN = {"broken": Entry("adapters.of_a_missing_sdk", "Adapter", "pip install 'pointsman[broken]'"), **ADAPTERS}


@pytest.mark.parametrize("name", sorted(ADAPTERS))
async def test_every_registered_adapter_can_be_built_called_with_a_request_and_closed(name: str) -> None:
    adapter = factory(name)()
    assert inspect.iscoroutinefunction(adapter.complete)
    await adapter.close()


def test_an_adapter_that_cannot_be_imported_is_listed_with_its_remedy() -> None:
    assert listing(BROKEN) == (Listing("broken", usable=False, remedy="pip install 'pointsman[broken]'"), Listing("scripted", usable=True))
    with pytest.raises(AdapterUnavailable, match="pip install") as refused:
        factory("broken", BROKEN)
    assert not refused.value.retryable


def test_an_unknown_name_names_the_known_ones() -> None:
    with pytest.raises(AdapterUnavailable, match="scripted"):
        factory("nobody")


def test_importing_the_registry_imports_no_adapter() -> None:
    code = "import sys, adapters.registry; print('adapters.scripted' in sys.modules, 'scipy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def every_error() -> list[type[AdapterError]]:
    return [item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, AdapterError)]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_says_whether_to_try_again(kind: type[AdapterError]) -> None:
    extra = {"remedy": "set a key"} if kind is AdapterUnavailable else {}
    error = kind("it failed", model="openai/gpt-4o", **extra)
    assert isinstance(error.retryable, bool)
    assert error.model == "openai/gpt-4o"
    assert "it failed" in str(error)
    assert kind.__doc__


def test_only_faults_that_pass_are_retryable() -> None:
    assert {kind.__name__ for kind in every_error() if kind.retryable} == {
        "RateLimited",
        "ProviderDown",
        "ProviderTimeout",
        "MalformedResponse",
    }
    assert RateLimited("slow down", retry_after_s=2.5).retry_after_s == 2.5


def test_a_message_gives_its_written_parts() -> None:
    assert Message("user", "a").text == "a"
    assert Message("user", (Text("a"), Text("b"))).text == "a\nb"
