"""The soak of ``make soak-replicas``, short: services in processes of their own, killed under load."""

import asyncio

import pytest

pytest.importorskip("aiohttp", reason="the soak's client comes with the openai extra")

from benchmarks import soak


def test_killed_services_lose_and_double_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "KILLS", 1)
    told = asyncio.run(soak.run("kill", 20.0, 2, None))
    assert told["kills"] >= 1
    assert told["decisions"] > 10
    assert (told["lost_decisions"], told["lost_scores"], told["doubled"], told["gaps"], told["deadlocks"]) == (0, 0, 0, 0, 0)
    assert told["digests_equal"]
    assert set(told["statuses"]) <= {200, 503}
