"""Scores and outcomes: idempotent, correctable, retractable, for one decision, an episode or a pair."""

import pytest

from tests.api.conftest import Rig


async def test_score_is_in_the_log_when_it_is_acknowledged(rig: Rig) -> None:
    decision = await rig.decide()
    answer = await rig.client.post("/v1/feedback", json={"decision_id": decision, "score": 0.75, "judge": "ann"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["feedback_id"].startswith("fb_")
    assert (body["decision_id"], body["seq"], body["revision"], body["repeated"]) == (decision, 2, 1, False)
    assert await rig.scores(decision) == [("ann", 0.75, 1.0)]


@pytest.mark.parametrize(("verdict", "score"), [("good", 1.0), ("acceptable", 0.5), ("bad", 0.0)])
async def test_verdicts(rig: Rig, verdict: str, score: float) -> None:
    decision = await rig.decide()
    await rig.client.post("/v1/feedback", json={"decision_id": decision, "verdict": verdict})
    assert await rig.scores(decision) == [("user", score, 1.0)]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k-1"}])
async def test_the_same_again_changes_nothing_and_another_is_a_conflict(rig: Rig, headers: dict[str, str]) -> None:
    decision = await rig.decide()
    body = {"decision_id": decision, "score": 1, "judge": "ann"}
    first = (await rig.client.post("/v1/feedback", json=body, headers=headers)).json()
    again = await rig.client.post("/v1/feedback", json=body, headers=headers)
    assert again.status_code == 200
    assert again.json() == first | {"repeated": True}
    other = await rig.client.post("/v1/feedback", json=body | {"score": 0}, headers=headers)
    assert other.status_code == 409
    error = other.json()["error"]
    assert error["type"] == "feedback_conflict"
    assert f"PUT /v1/feedback/{first['feedback_id']}" in error["remedy"]
    assert await rig.scores(decision) == [("ann", 1.0, 1.0)]


async def test_one_key_for_two_decisions_is_a_conflict(rig: Rig) -> None:
    one, two = await rig.decide(), await rig.decide()
    headers = {"Idempotency-Key": "k-1"}
    await rig.client.post("/v1/feedback", json={"decision_id": one, "score": 1}, headers=headers)
    assert (await rig.client.post("/v1/feedback", json={"decision_id": two, "score": 1}, headers=headers)).status_code == 409


async def test_judges_and_metrics_do_not_collide(rig: Rig) -> None:
    decision = await rig.decide()
    for judge, metric in (("ann", "quality"), ("bob", "quality"), ("ann", "style")):
        body = {"decision_id": decision, "score": 0.5, "judge": judge, "metric": metric}
        assert (await rig.client.post("/v1/feedback", json=body)).status_code == 200
    assert len(await rig.scores(decision)) == 3


async def test_correction_and_retraction(rig: Rig) -> None:
    decision = await rig.decide()
    feedback = (await rig.client.post("/v1/feedback", json={"decision_id": decision, "score": 1})).json()["feedback_id"]
    corrected = (await rig.client.put(f"/v1/feedback/{feedback}", json={"score": 0.25})).json()
    assert (corrected["feedback_id"], corrected["revision"], corrected["repeated"]) == (feedback, 2, False)
    assert (await rig.client.put(f"/v1/feedback/{feedback}", json={"score": 0.25})).json()["repeated"]
    assert (await rig.client.put(f"/v1/feedback/{feedback}", json={"verdict": "good"})).json()["revision"] == 3
    assert (await rig.client.delete(f"/v1/feedback/{feedback}")).json()["revision"] == 4
    assert (await rig.client.delete(f"/v1/feedback/{feedback}")).json()["repeated"]
    assert [score for _, score, _ in await rig.scores(decision)] == [1.0, 0.25, 1.0, None]
    back = (await rig.client.post("/v1/feedback", json={"decision_id": decision, "score": 0.5})).json()
    assert (back["feedback_id"], back["revision"]) == (feedback, 5)


async def test_list_tells_each_items_result(rig: Rig) -> None:
    one, two = await rig.decide(), await rig.decide()
    answer = await rig.client.post(
        "/v1/feedback",
        json=[{"decision_id": one, "score": 1}, {"decision_id": "dec_unknown", "score": 1}, {"decision_id": two, "score": 0}],
    )
    assert answer.status_code == 207
    first, refused, last = answer.json()["results"]
    assert (first["item"], first["decision_id"], last["item"], last["decision_id"]) == (0, one, 2, two)
    assert (refused["item"], refused["status"], refused["error"]["type"]) == (1, 404, "decision_not_found")
    whole = await rig.client.post("/v1/feedback", json=[{"decision_id": one, "score": 1}, {"decision_id": two, "score": 0}])
    assert whole.status_code == 200
    assert all(item["repeated"] for item in whole.json()["results"])


async def test_list_with_a_key_is_idempotent(rig: Rig) -> None:
    decisions = [await rig.decide() for _ in range(3)]
    body = [{"decision_id": decision, "score": 1} for decision in decisions]
    for repeated in (False, True):
        answer = await rig.client.post("/v1/feedback", json=body, headers={"Idempotency-Key": "list-1"})
        assert [item["repeated"] for item in answer.json()["results"]] == [repeated] * 3
    body[2]["score"] = 0
    assert (await rig.client.post("/v1/feedback", json=body, headers={"Idempotency-Key": "list-1"})).status_code == 207


async def test_episode_scores_every_decision_of_it(rig: Rig) -> None:
    inside = [await rig.decide(episode_id="run-1") for _ in range(3)]
    outside = await rig.decide(episode_id="run-2")
    body = {"episode_id": "run-1", "verdict": "good", "judge": "reviewer"}
    answer = await rig.client.post("/v1/feedback", json=body, headers={"Idempotency-Key": "e"})
    assert [item["decision_id"] for item in answer.json()["results"]] == inside
    inside.append(await rig.decide(episode_id="run-1"))
    again = (await rig.client.post("/v1/feedback", json=body, headers={"Idempotency-Key": "e"})).json()["results"]
    assert [item["repeated"] for item in again] == [True, True, True, False]
    assert [await rig.scores(decision) for decision in inside] == [[("reviewer", 1.0, 1.0)]] * 4
    assert await rig.scores(outside) == []


async def test_preference_is_two_weak_scores(rig: Rig) -> None:
    better, worse = await rig.decide(), await rig.decide()
    answer = await rig.client.post("/v1/feedback", json={"decision_id": better, "preferred_over": worse, "judge": "ann"})
    assert [item["decision_id"] for item in answer.json()["results"]] == [better, worse]
    assert await rig.scores(better) == [("ann/preference", 1.0, 0.25)]
    assert await rig.scores(worse) == [("ann/preference", 0.0, 0.25)]


async def test_half_a_preference_is_none(rig: Rig) -> None:
    known = await rig.decide()
    answer = await rig.client.post("/v1/feedback", json={"decision_id": known, "preferred_over": "dec_unknown"})
    assert answer.status_code == 404
    assert answer.json()["error"]["field"] == "preferred_over"
    assert await rig.scores(known) == []


async def test_comments_are_dropped_unless_the_operator_keeps_text(rig: Rig) -> None:
    decision = await rig.decide()
    body = {"decision_id": decision, "score": 1, "comment": "not to be kept"}
    assert (await rig.client.post("/v1/feedback", json=body)).status_code == 200
    assert "not to be kept" not in repr(rig.store.read_log(0, 100))
    assert "not to be kept" not in repr(rig.store.decision(decision))


async def test_outcomes(rig: Rig) -> None:
    decision = await rig.decide()
    body = {"decision_id": decision, "status": "ok", "latency_s": 1.5, "ttft_s": 0.25, "output_tokens": 20, "cost_usd": 0}
    first = await rig.client.post("/v1/outcomes", json=body)
    assert first.json() == {"decision_id": decision, "seq": 2, "repeated": False}
    assert (await rig.client.post("/v1/outcomes", json=body)).json()["repeated"]
    other = await rig.client.post("/v1/outcomes", json=body | {"latency_s": 9})
    assert (other.status_code, other.json()["error"]["type"]) == (409, "outcome_conflict")
    record = rig.store.decision(decision)
    assert record is not None
    assert record.outcome is not None
    assert (record.outcome.latency_s, record.outcome.cost_usd) == (1.5, 0.0)


async def test_list_of_outcomes(rig: Rig) -> None:
    one, two = await rig.decide(), await rig.decide()
    answer = await rig.client.post(
        "/v1/outcomes", json=[{"decision_id": one}, {"decision_id": two, "status": "error"}, {"decision_id": "dec_unknown"}]
    )
    assert answer.status_code == 207
    assert [item.get("status", 200) for item in answer.json()["results"]] == [200, 200, 404]


async def test_the_decision_tells_its_whole_story(rig: Rig) -> None:
    decision = await rig.decide(episode_id="run-1", tags={"team": "a"}, constraints={"exclude": ["acme/large"]})
    await rig.client.post("/v1/outcomes", json={"decision_id": decision, "latency_s": 1})
    feedback = (await rig.client.post("/v1/feedback", json={"decision_id": decision, "score": 1})).json()["feedback_id"]
    await rig.client.put(f"/v1/feedback/{feedback}", json={"score": 0})
    story = (await rig.client.get(f"/v1/decisions/{decision}")).json()
    assert story["decision_id"] == decision
    assert [entry["model"] for entry in story["eligible"]] == ["acme/small", "other/plain"]
    assert [entry["model"] for entry in story["excluded"]] == ["acme/large"]
    assert story["outcome"]["latency_s"] == 1
    assert [entry["score"] for entry in story["feedback"]] == [1, 0]
    assert (story["tags"], story["features"]) == ({"team": "a"}, [1.0])


async def test_pages_of_decisions(rig: Rig) -> None:
    made = [await rig.decide(task_type="a" if i % 2 else "b", episode_id=f"run-{i % 3}") for i in range(7)]
    seen: list[str] = []
    before = ""
    while True:
        page = (await rig.client.get(f"/v1/decisions?limit=3{before}")).json()
        seen += [entry["decision_id"] for entry in page["decisions"]]
        if page["next_before_seq"] is None:
            break
        before = f"&before_seq={page['next_before_seq']}"
    assert seen == made[::-1]
    chosen = (await rig.client.get("/v1/decisions?task_type=a")).json()["decisions"]
    assert [entry["decision_id"] for entry in chosen] == made[1::2][::-1]
    chosen = (await rig.client.get("/v1/decisions?episode_id=run-0")).json()["decisions"]
    assert [entry["decision_id"] for entry in chosen] == made[::3][::-1]
