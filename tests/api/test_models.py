"""The catalogue over HTTP: models are added, changed and retired while the service routes."""

import time
from typing import Any

from router.domain.catalog import Catalog
from router.services.models import ModelService
from tests.api.conftest import MODELS, Rig

NEW: dict[str, Any] = {
    "id": "deepinfra/acme/Example-7B",
    "context_window": 32_768,
    "capabilities": ["json", "tools"],
    "price": {"input_usd_per_mtok": 0.05, "output_usd_per_mtok": 0.08, "effective_from": "2026-01-02"},
    "speed": {"ttft_s": 0.2, "output_tokens_per_s": 90},
    "tags": ["code"],
}


async def only(rig: Rig, model: str) -> bool:
    answer = (await rig.client.post("/v1/route", json={"task_type": "x", "constraints": {"models": [model]}})).json()
    return bool(answer["model"] == model and not answer["fallback"])


async def test_list_has_openais_shape(rig: Rig) -> None:
    answer = (await rig.client.get("/v1/models")).json()
    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]] == sorted(model.id for model in MODELS)
    assert {"id", "object", "created", "owned_by"} <= set(answer["data"][0])
    unpriced = next(model for model in answer["data"] if model["id"] == "other/plain")
    assert unpriced["price"] is None


async def test_added_model_is_routed_to_at_once(rig: Rig) -> None:
    assert not await only(rig, NEW["id"])
    answer = await rig.client.post("/v1/models", json=NEW)
    assert answer.status_code == 201
    added = answer.json()
    assert (added["provider"], added["name"], added["family"]) == ("deepinfra", "acme/Example-7B", "Example-7B")
    assert (added["price"]["effective_from"], added["price"]["source"]) == ("2026-01-02", "operator")
    assert (added["capabilities"], added["modalities"], added["version"]) == (["json", "tools"], ["text"], 1)
    assert await only(rig, NEW["id"])
    assert (await rig.client.get(f"/v1/models/{NEW['id']}")).json()["context_window"] == 32_768


async def test_taken_id_is_a_conflict(rig: Rig) -> None:
    answer = await rig.client.post("/v1/models", json=NEW | {"id": "acme/small"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (409, "id")


async def test_price_change_keeps_the_rest_and_counts_versions(rig: Rig) -> None:
    path = "/v1/models/acme/small"
    before = (await rig.client.get(path)).json()
    price = {"input_usd_per_mtok": 0.3, "output_usd_per_mtok": 0.4}
    changed = (await rig.client.patch(path, json={"price": price})).json()
    assert (changed["price"]["input_usd_per_mtok"], changed["version"]) == (0.3, before["version"] + 1)
    assert changed["capabilities"] == before["capabilities"]
    unknown = (await rig.client.patch(path, json={"price": None})).json()
    assert unknown["price"] is None
    history = (await rig.client.get(path)).json()["versions"]
    assert [version["version"] for version in history] == [2, 3]
    assert history[0]["at"] <= history[1]["at"]


async def test_inconsistent_change_is_refused(rig: Rig) -> None:
    answer = await rig.client.patch("/v1/models/acme/small", json={"max_output_tokens": 9_000})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "max_output_tokens")
    for body in ({}, {"context_window": None}, {"retired": None}, {"id": "acme/other"}):
        assert (await rig.client.patch("/v1/models/acme/small", json=body)).status_code == 422


async def test_retired_model_is_listed_but_not_routed_to_and_can_come_back(rig: Rig) -> None:
    assert (await rig.client.delete("/v1/models/acme/small")).json()["retired"]
    assert not await only(rig, "acme/small")
    assert "acme/small" not in {model["id"] for model in (await rig.client.get("/v1/models")).json()["data"]}
    listed = (await rig.client.get("/v1/models?include_retired=true")).json()["data"]
    assert "acme/small" in {model["id"] for model in listed}
    assert (await rig.client.delete("/v1/models/acme/small")).json()["version"] == 2
    await rig.client.patch("/v1/models/acme/small", json={"retired": False})
    assert await only(rig, "acme/small")


async def test_last_active_model_stays(rig: Rig) -> None:
    for model in ("acme/small", "acme/large"):
        assert (await rig.client.delete(f"/v1/models/{model}")).status_code == 200
    assert (await rig.client.delete("/v1/models/other/plain")).status_code == 422
    assert (await rig.client.patch("/v1/models/other/plain", json={"retired": True})).status_code == 422


async def test_changes_survive_a_restart(rig: Rig) -> None:
    await rig.client.post("/v1/models", json=NEW)
    await rig.client.patch("/v1/models/acme/small", json={"context_window": 9_000})
    await rig.client.delete("/v1/models/acme/large")
    restarted = ModelService(rig.store, Catalog(MODELS), clock=time.time)
    told: list[str] = []
    restarted.subscribe(lambda catalog: told.append(catalog.version))
    await restarted.load()
    assert restarted.catalog == rig.services.models.catalog
    assert told == [Catalog(MODELS).version, rig.services.models.catalog.version]
