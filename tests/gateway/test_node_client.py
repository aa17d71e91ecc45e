"""The ``openai`` client of Node against the service. ``NODE_CLIENT_MODULES`` names the folder that npm installed it to."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from adapters.types import ToolCall
from router.testing import Scenario
from tests.gateway.conftest import Gateway

pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

MODULES = Path(os.environ.get("NODE_CLIENT_MODULES", "node_modules"))
SCRIPT = """
const OpenAI = require(process.argv[2]);
const client = new OpenAI({ apiKey: "any", baseURL: process.argv[3], maxRetries: 0 });
const messages = [{ role: "user", content: "Where to?" }];
const tools = [{ type: "function", function: { name: "departures", parameters: { type: "object", properties: {} } } }];
(async () => {
  const plain = await client.chat.completions.create({ model: "alpha/one", messages });
  let text = "", usage = null;
  const options = { model: "alpha/one", messages, stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await client.chat.completions.create(options)) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  const called = await client.chat.completions.stream({ model: "beta/two", messages, tools }).finalChatCompletion();
  console.log(JSON.stringify({ plain: plain.choices[0].message.content, decision: plain.router.decision_id, text, usage,
    called: called.choices[0].message.tool_calls[0].function }));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (MODULES / "openai").is_dir(), reason="npm install openai, and name its folder in NODE_CLIENT_MODULES")
async def test_plain_streaming_and_tools_from_node(gateway: Gateway, tmp_path: Path) -> None:
    gateway.stub.script("two", Scenario(text="", tool_calls=(ToolCall("call_1", "departures", '{"track": 9}'),)))
    script = tmp_path / "client.cjs"
    script.write_text(SCRIPT)
    process = await asyncio.create_subprocess_exec(
        "node", str(script), str((MODULES / "openai").resolve()), f"{gateway.address}/v1", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    told = json.loads(out)
    assert told["plain"] == told["text"] == "The quick brown fox jumps over the lazy dog."
    assert told["decision"].startswith("dec_")
    assert told["usage"]["completion_tokens"] == 9
    assert told["called"] == {"name": "departures", "arguments": '{"track": 9}'}
