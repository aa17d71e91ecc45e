"""Adapters are found by name, imported late, and the errors say what to do."""

import inspect
import subprocess
import sys

import pytest

from adapters import errors
from adapters.endpoints import ENDPOINTS, Endpoint
from adapters.errors import AdapterError, AdapterUnavailable, RateLimited
from adapters.registry import ADAPTERS, Entry, Listing, build, factory, listing, with_endpoints
from adapters.types import Image, Message, Text

BROKEN = {"broken": Entry("adapters.of_a_missing_sdk", "Adapter", "pip install 'pointsman[broken]'"), "scripted": ADAPTERS["scripted"]}
KEYS = {entry.key_variables[0]: "a-key" for entry in ADAPTERS.values() if entry.key_variables}
INSTALLED = [item.name for item in listing(environ=KEYS) if item.usable]


@pytest.mark.parametrize("name", INSTALLED)
async def test_every_registered_adapter_can_be_built_and_closed(name: str) -> None:
    adapter = build(name, environ=KEYS)
    assert inspect.iscoroutinefunction(adapter.complete)
    if ADAPTERS[name].remote:
        assert inspect.signature(type(adapter).stream).parameters.keys() == {"self", "request"}
    await adapter.close()


def test_an_adapter_that_cannot_be_imported_is_listed_with_its_remedy() -> None:
    assert listing(BROKEN, environ={}) == (
        Listing("broken", usable=False, remedy="pip install 'pointsman[broken]'"),
        Listing("scripted", usable=True, only_named=True),
    )
    with pytest.raises(AdapterUnavailable, match="pip install") as refused:
        factory("broken", BROKEN)
    assert not refused.value.retryable
    with pytest.raises(AdapterUnavailable, match="pip install"):
        build("broken", environ=KEYS, entries=BROKEN)


def test_a_missing_module_of_an_extra_is_found_without_importing_it() -> None:
    entries = {"far": Entry("adapters.scripted", "ScriptedAdapter", "pip install x", needs=("google.not_there", "json"))}
    assert listing(entries, environ={}) == (Listing("far", usable=False, remedy="pip install x"),)


@pytest.mark.parametrize("name", [name for name, entry in ADAPTERS.items() if entry.key_variables])
def test_a_provider_without_its_key_says_which_variable_to_set(name: str) -> None:
    if name not in INSTALLED:
        pytest.skip(f"the SDK of {name} is not installed")
    variables = ADAPTERS[name].key_variables
    for environ in ({}, dict.fromkeys(variables, "  ")):
        (found,) = (item for item in listing(environ=environ) if item.name == name)
        assert not found.usable
        assert found.remedy == f"set {' or '.join(variables)}"
        with pytest.raises(AdapterUnavailable, match=variables[0]):
            build(name, environ=environ)


@pytest.mark.parametrize("key", ["sk-1\r\nX-Admin: yes", "sk-\u201c1\u201d"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(key: str) -> None:
    (found,) = (item for item in listing(environ={"OPENAI_API_KEY": key}) if item.name == "openai")
    assert not found.usable
    with pytest.raises(AdapterUnavailable, match="no header can carry") as refused:
        build("openai", environ={"OPENAI_API_KEY": key})
    assert "OPENAI_API_KEY" in refused.value.remedy
    assert key not in f"{refused.value!r} {refused.value} {refused.value.remedy}"


def test_only_the_providers_with_keys_are_usable() -> None:
    offered = {item.name for item in listing(environ={"GEMINI_API_KEY": "a", "CEREBRAS_API_KEY": "b"}) if item.usable}
    assert offered - {"google-legacy"} == {"google", "cerebras", "scripted"}.intersection(INSTALLED)


def test_the_deprecated_adapter_says_so() -> None:
    (found,) = (item for item in listing(environ={}) if item.name == "google-legacy")
    assert found.notice is not None
    assert "end of life" in found.notice


def test_any_base_url_is_a_row() -> None:
    row = Endpoint("house", "http://127.0.0.1:1/v1")
    entries = with_endpoints([row])
    assert entries["house"].options == {"endpoint": row}
    assert {name: entries[name] for name in ADAPTERS} == ADAPTERS
    assert all(endpoint.base_url.startswith("https://") and endpoint.key_variables for endpoint in ENDPOINTS.values())


def test_an_unknown_name_names_the_known_ones() -> None:
    for ask in (factory, build):
        with pytest.raises(AdapterUnavailable, match="scripted"):
            ask("nobody")


def test_importing_the_registry_and_listing_imports_no_adapter_and_no_sdk() -> None:
    heavy = ("adapters.scripted", "scipy", "openai", "anthropic", "google.genai", "replicate", "httpx")
    code = (
        f"import sys, adapters.registry as r; r.listing(environ={{'OPENAI_API_KEY': 'x'}}); print([m for m in {heavy} if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_stub_imports_nothing_heavy() -> None:
    code = "import sys, router.testing; print([m for m in ('numpy', 'fastapi', 'sqlalchemy', 'httpx', 'uvicorn') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


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
    assert {kind.__name__ for kind in every_error() if not kind.elsewhere} == {"RequestRejected", "ContentRefused"}
    assert RateLimited("slow down", retry_after_s=2.5).retry_after_s == 2.5


def test_a_message_gives_its_written_parts() -> None:
    assert Message("user", "a").text == "a"
    message = Message("user", (Text("a"), Image("https://example.org/x.png"), Text("b")))
    assert message.text == "a\nb"
    assert message.images == (Image("https://example.org/x.png"),)
