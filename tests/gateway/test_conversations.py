"""A conversation with pictures and tools through the service and each kind of adapter: the provider understands what was said."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.types import Image, Text, ToolCall
from router.testing import Scenario, Stub
from tests.gateway.conftest import CATALOG, Gateway

pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("anthropic", reason="the anthropic SDK is an extra of the distribution: pip install 'pointsman[anthropic]'")
pytest.importorskip("google.genai", reason="the google-genai SDK is an extra of the distribution: pip install 'pointsman[gemini]'")

PICTURE = "data:image/png;base64,iVBORw0KGgo+/w=="
TOOLS: Any = [{"type": "function", "function": {"name": "departures", "parameters": {"type": "object", "properties": {}}}}]
CALL = ToolCall("call_9", "departures", '{"from": "Zürich", "when": ["now", 9], "note": "a \\u2028 b"}')
CONVERSATION: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Which train? 🦊"}, {"type": "image_url", "image_url": {"url": PICTURE}}]},
    {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": [{"id": CALL.id, "type": "function", "function": {"name": CALL.name, "arguments": CALL.arguments}}],
    },
    {"role": "tool", "tool_call_id": CALL.id, "content": '{"track": 9, "text": "rain \\u2028 & \\"wind\\""}'},
    {"role": "user", "content": "And tomorrow?"},
]
PROVIDERS = {"alpha/one": "openai", "anthropic/x": "anthropic", "google/gemini-2.5-x": "gemini"}
MORE = """
[[models]]
id = "{}"
family = "x"
context_window = 128000
modalities = ["text", "image"]
capabilities = ["tools", "json", "streaming"]
"""


@pytest.fixture
def three(running_stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway with a provider of each wire format."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a")
    monkeypatch.setenv("GEMINI_API_KEY", "g")
    running_stub.forget()
    urls = {"alpha": "openai", "anthropic": "anthropic", "google": "gemini"}
    made = Gateway(
        tmp_path,
        running_stub,
        providers=",".join(urls),
        provider_urls={name: running_stub.base_url(speaks) for name, speaks in urls.items()},
    )
    (tmp_path / "models.toml").write_text(CATALOG + "".join(MORE.format(model) for model in list(PROVIDERS)[1:]))
    yield made.start()
    made.stop()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", PROVIDERS)
async def test_it_arrives_as_it_was_said_and_comes_back_in_one_shape(three: Gateway, model: str, stream: bool) -> None:
    three.stub.script(model.partition("/")[2], Scenario(text="One moment.", tool_calls=(CALL,)))
    async with three.client() as client:
        asked: Any = {"model": model, "messages": CONVERSATION, "tools": TOOLS}
        if stream:
            async with client.chat.completions.stream(**asked) as events:
                answer = await events.get_final_completion()
        else:
            answer = await client.chat.completions.create(**asked)
    (received,) = three.stub.requests
    assert received.provider == PROVIDERS[model]
    system, user, assistant, tool, last = received.messages
    assert (system.role, system.text) == ("system", "Be brief.")
    assert (user.role, user.content) == ("user", (Text("Which train? 🦊"), Image(PICTURE)))
    assert (assistant.text, [(c.id, c.name, json.loads(c.arguments)) for c in assistant.tool_calls]) == (
        "Let me look.",
        [(CALL.id, CALL.name, json.loads(CALL.arguments))],
    )
    assert (tool.role, tool.tool_call_id, tool.text) == ("tool", CALL.id, CONVERSATION[3]["content"])
    assert (last.role, last.text) == ("user", "And tomorrow?")
    (choice,) = answer.choices
    (called,) = choice.message.tool_calls or ()
    assert (choice.finish_reason, choice.message.content, called.id) == ("tool_calls", "One moment.", CALL.id)
    assert (called.function.name, json.loads(called.function.arguments)) == (CALL.name, json.loads(CALL.arguments))
