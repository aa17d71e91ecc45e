"""A chat is routed by what it says where the operator wants that, and the log holds numbers of it only."""

from pathlib import Path

import pytest

from learning.foretold import text_of
from learning.projection import hashed
from router.testing import Stub
from tests.gateway.conftest import Gateway

openai = pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

SAID = "Why do swordfish leap out of the water at dusk?"


async def test_a_chat_leaves_numbers_of_what_it_says_and_nothing_else(running_stub: Stub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    running_stub.forget()
    gateway = Gateway(tmp_path, running_stub, text_features="hashed").start()
    try:
        async with gateway.client() as client:
            told = [{"role": "user", "content": SAID}, {"role": "user", "content": [{"type": "text", "text": "Tell me."}]}]
            await client.chat.completions.create(model="auto", messages=told)
        ((features,),) = await gateway.settled("select features from decisions", bool)
    finally:
        gateway.stop()
    assert text_of(features) == hashed(f"{SAID}\nTell me.")
    for end in ("", "-wal"):
        assert b"swordfish" not in read(tmp_path / f"log.db{end}")


def read(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""
