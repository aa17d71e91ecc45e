"""A battery runs on the real adapters, judges, logs, and never pays twice."""

import asyncio
from collections import Counter

import pytest

from adapters.errors import ContentRefused, MalformedResponse
from adapters.types import Usage
from router.domain.battery_report import paid_for, report
from router.domain.battery_runs import RunStatus
from router.domain.catalog import load_shipped
from router.domain.events import FeedbackEvent, Status
from router.errors import ConfigurationInvalid
from router.services.battery import records_of
from router.storage.memory import MemoryStore
from router.testing import Pupil, Pupils, Scenario
from tests.batteries.conftest import running, small

pytest.importorskip("openai", reason="the providers' SDKs are extras of the distribution: pip install 'pointsman[providers]'")
pytest.importorskip("aiohttp", reason="the SDKs' aiohttp transport comes with the same extra")
pytest.importorskip("google.genai", reason="the providers' SDKs are extras of the distribution: pip install 'pointsman[providers]'")
pytest.importorskip("anthropic", reason="the providers' SDKs are extras of the distribution: pip install 'pointsman[providers]'")
pytest.importorskip("replicate", reason="the providers' SDKs are extras of the distribution: pip install 'pointsman[providers]'")

GEMINI, HAIKU = "google/gemini-2.0-flash", "anthropic/claude-3-haiku-20240307"
LLAMA, PHI = "cerebras/llama3.1-8b", "deepinfra/microsoft/phi-2"
WIZARD, LLAVA = "replicate/wizardmath-70b-v1.0", "replicate/yorickvp/llava-v1.6-34b"


async def test_every_wire_format_plays_and_the_results_are_as_scripted(stub):
    models = [GEMINI, HAIKU, LLAMA, PHI, WIZARD, LLAVA]
    battery = small(
        models,
        {"classification": ("label", "tickets", 10), "math_reasoning": ("numeric", "sums", 8), "multimodal": ("contains", "pictures", 6)},
    )
    quality = {GEMINI: 1.0, HAIKU: 0.8, LLAMA: 0.5, PHI: 0.0, WIZARD: 0.6, LLAVA: 0.7}
    pupils = Pupils({m: Pupil({s.task_type: q for s in battery.sections}) for m, q in quality.items()}, battery.sections, seed=2)
    stub.player = pupils
    store = MemoryStore()
    async with running(store, stub) as service:
        prepared = await service.prepare(battery)
        assert set(prepared.estimate.unpriced) == {PHI, WIZARD, LLAVA}
        assert 0 < prepared.estimate.expected_usd < prepared.estimate.most_usd
        made = await service.run(prepared, max_usd=1.0)
    calls = 10 * 4 + 8 * 5 + 6 * 3
    assert (made.done, made.failed, made.total) == (calls, 0, calls)
    assert len([r for r in stub.requests if r.method == "POST"]) == calls
    (run,) = store.battery_runs()
    assert run.status is RunStatus.DONE
    records = records_of(store, run.id)
    found = {(c.task_type, c.model): c for c in report(run, store.battery_cells(run.id), records).cells}
    skipped = {key: cell.skipped for key, cell in found.items() if cell.skipped}
    assert skipped[("multimodal", LLAMA)] == "it does not read image"
    assert skipped[("classification", WIZARD)] == "a specialist of math"
    assert len(skipped) == 6
    for (task, model), cell in found.items():
        if not cell.skipped:
            assert cell.quality.mean == pytest.approx(pupils.rate(model, task))
            assert cell.quality.low <= cell.quality.mean <= cell.quality.high
            assert "agreement" in cell.metrics
    for record in records:
        decision = record.decision
        assert (decision.policy, decision.forced, decision.propensity, decision.eligible) == ("battery", True, 1.0, (decision.model,))
        assert record.outcome is not None
        assert record.outcome.status is Status.OK
        assert [attempt.forced for attempt in record.attempts] == [True]
    assert {f.metric for f in store.read_log(0, 10_000) if isinstance(f, FeedbackEvent)} == {"quality", "agreement"}


async def test_a_run_goes_on_where_it_stopped_and_calls_nobody_twice(stub):
    battery = small([LLAMA, PHI], {"classification": ("label", "tickets", 20)})
    stub.player = Pupils({m: Pupil({"classification": 1.0}) for m in battery.models}, battery.sections)
    store = MemoryStore()
    stop = asyncio.Event()
    async with running(store, stub) as service:
        first = await service.run(
            await service.prepare(battery), max_usd=1.0, stop=stop, on_progress=lambda p: stop.set() if p.done >= 9 else None
        )
        assert 9 <= first.done < 40
        assert store.battery_runs()[0].status is RunStatus.RUNNING
        again = await service.prepare(battery)
        assert (again.resumed, again.done, again.unknown) == (True, first.done, 0)
        assert again.spent_usd > 0
        await service.run(again, max_usd=1.0)
        assert store.battery_runs()[0].status is RunStatus.DONE
        assert not (await service.prepare(battery)).resumed
    assert set(Counter((r.model, r.messages[-1].text) for r in stub.requests).values()) == {1}
    assert len(stub.requests) == 40
    assert len(records_of(store, again.run.id)) == 40


async def test_calls_that_were_under_way_are_left_alone(stub):
    battery = small([LLAMA], {"classification": ("label", "tickets", 6)})
    stub.player = Pupils({LLAMA: Pupil({"classification": 1.0}, first_token_s=3600)}, battery.sections)
    store = MemoryStore()
    async with running(store, stub) as service:
        going = asyncio.create_task(service.run(await service.prepare(battery), max_usd=1.0))
        while len(stub.requests) < 4:  # noqa: ASYNC110 - what a stub receives has no event
            await asyncio.sleep(0.01)
        going.cancel()  # as a kill would: nothing is said about what was sent
        await asyncio.gather(going, return_exceptions=True)
        stub.player = Pupils({LLAMA: Pupil({"classification": 1.0})}, battery.sections)
        again = await service.prepare(battery)
        assert (again.done, again.unknown, len(again.todo)) == (0, 4, 2)
        await service.run(again, max_usd=1.0)
    (cell,) = report(again.run, store.battery_cells(again.run.id), records_of(store, again.run.id)).cells
    assert (cell.answered, cell.unknown) == (2, 4)


async def test_two_processes_share_a_run(stub, monkeypatch):
    battery = small([LLAMA], {"classification": ("label", "tickets", 30)})
    stub.player = Pupils({LLAMA: Pupil({"classification": 1.0}, first_token_s=0.005)}, battery.sections)
    store = MemoryStore()
    begun, shared = asyncio.Event(), asyncio.Event()
    async with running(store, stub) as one, running(store, stub) as other:
        adapter = one._tools.providers.adapter(LLAMA)
        complete = adapter.complete

        async def once_it_is_shared(request):
            begun.set()
            await shared.wait()
            return await complete(request)

        monkeypatch.setattr(adapter, "complete", once_it_is_shared)
        going = asyncio.create_task(one.run(await one.prepare(battery), max_usd=1.0))
        await begun.wait()
        theirs = await other.prepare(battery)
        assert theirs.resumed
        shared.set()
        await asyncio.gather(going, other.run(theirs, max_usd=1.0))
    assert set(Counter(r.messages[-1].text for r in stub.requests).values()) == {1}
    assert len(stub.requests) == 30


async def test_the_limit_of_money_holds(stub):
    battery = small([LLAMA], {"math_reasoning": ("numeric", "sums", 12)})
    stub.player = Pupils({LLAMA: Pupil({"math_reasoning": 1.0})}, battery.sections)
    store = MemoryStore()
    async with running(store, stub) as service:
        prepared = await service.prepare(battery)
        limit = prepared.estimate.most_usd / 3
        made = await service.run(prepared, max_usd=limit)
        assert made.capped
        assert 0 < made.done < 12
        assert made.spent_usd <= limit
        assert store.battery_runs()[0].status is RunStatus.CAPPED
        made = await service.run(await service.prepare(battery), max_usd=10 * limit)
        assert not made.capped
    assert len(records_of(store, prepared.run.id)) == 12


async def test_failures_are_logged_and_a_model_that_cannot_be_called_is_given_up(stub):
    battery = small([LLAMA, PHI], {"classification": ("label", "tickets", 8)})
    player = Pupils({m: Pupil({"classification": 1.0}) for m in battery.models}, battery.sections)
    stub.player = player
    stub.script("phi-2", Scenario(status=401))
    stub.script("microsoft/phi-2", Scenario(status=401))
    stub.script("llama3.1-8b", Scenario(status=429, retry_after="0.05"), Scenario(text="billing"))
    store = MemoryStore()
    async with running(store, stub) as service:
        prepared = await service.prepare(battery)
        made = await service.run(prepared, max_usd=1.0)
        assert made.gave_up == {PHI: "AccessDenied"}
        assert made.done == 8
        assert store.battery_runs()[0].status is RunStatus.RUNNING
        again = await service.prepare(battery)
        assert 0 < len(again.todo) < 8  # those that were never sent
    records = records_of(store, prepared.run.id)
    retried = [r for r in records if len(r.attempts) == 2]
    assert [(a.status, a.last) for a in retried[0].attempts] == [(Status.ERROR, False), (Status.OK, True)]
    refused = [r for r in records if r.decision.model == PHI]
    assert all(r.outcome is not None and r.outcome.status is Status.ERROR and not r.feedback for r in refused)


async def test_what_a_provider_bills_for_no_answer_is_spent(stub, monkeypatch):
    battery = small([LLAMA], {"classification": ("label", "tickets", 3)})
    store = MemoryStore()

    refused = []

    async def refuse(request):
        refused.append(request)
        kind = ContentRefused if len(refused) % 2 else MalformedResponse  # of which the second is tried again
        raise kind("there is no answer", model=request.model, usage=Usage(2_000, 10))

    async with running(store, stub) as service:
        monkeypatch.setattr(service._tools.providers.adapter(LLAMA), "complete", refuse)
        prepared = await service.prepare(battery)
        made = await service.run(prepared, max_usd=1.0)
    records = records_of(store, prepared.run.id)
    price = load_shipped().get(LLAMA).price
    each = (2_000 * price.input_usd_per_mtok + 10 * price.output_usd_per_mtok) * 1e-6
    assert made.spent_usd == pytest.approx(each * len(refused))
    assert sum(len(record.attempts) for record in records) == len(refused) > 3
    assert report(prepared.run, store.battery_cells(prepared.run.id), records).spent_usd == pytest.approx(made.spent_usd)
    assert sum(paid_for(record) for record in records) == pytest.approx(made.spent_usd), "as a run that goes on finds it"


async def test_what_no_judge_can_use_is_refused_before_the_first_call(stub):
    store = MemoryStore()
    async with running(store, stub) as service:
        with pytest.raises(ConfigurationInvalid, match="no judge has that name"):
            await service.prepare(small([LLAMA], {"classification": ("oracle", "tickets", 2)}))
        case = {"id": "a", "prompt": "b", "reference": "c", "expect": {"mood": "good"}}
        odd = [{"task_type": "t", "judges": [{"judge": "exact"}], "cases": [case]}]
        with pytest.raises(ConfigurationInvalid) as error:
            await service.prepare(small([LLAMA], {}, sections=odd))
        assert error.value.field == "t.cases.expect"
        bare = [{"task_type": "t", "judges": [{"judge": "exact"}], "cases": [{"id": "a", "prompt": "b", "reference": "c"}]}]
        with pytest.raises(ConfigurationInvalid, match="cannot score the case a: the case has no expected"):
            await service.prepare(small([LLAMA], {}, sections=bare))
        with pytest.raises(ConfigurationInvalid, match="no measure has that name"):
            await service.prepare(small([LLAMA], {"classification": ("label", "tickets", 2)}, measure="telepathy"))
        with pytest.raises(ConfigurationInvalid, match="no model of the battery can play"):
            await service.prepare(small([LLAMA], {"multimodal": ("contains", "pictures", 2)}))
    assert stub.requests == []
    assert store.battery_runs() == []


async def test_judges_that_ask_models_cost_money_and_belong_to_the_limit(stub):
    judge = {"judge": "rubric", "metric": "quality", "options": {"models": [HAIKU]}}
    case = {"id": "a", "prompt": "Write a line about rain.", "reference": "Rain draws on the window."}
    sections = [{"task_type": "creative_writing", "judges": [judge], "max_output_tokens": 40, "cases": [case, case | {"id": "b"}]}]
    battery = small([LLAMA], {}, sections=sections)
    stub.script("llama3.1-8b", Scenario(text="Rain."))
    stub.script("claude-3-haiku-20240307", Scenario(text='{"grade": "good"}', input_tokens=300))
    store = MemoryStore()
    async with running(store, stub) as service:
        prepared = await service.prepare(battery)
        assert 0 < prepared.estimate.judging_usd < prepared.estimate.most_usd
        made = await service.run(prepared, max_usd=prepared.estimate.most_usd)
    assert (made.done, made.capped) == (2, False)
    (run,) = store.battery_runs()
    assert run.judge_usd > 0
    records = records_of(store, run.id)
    scores = [entry for record in records for entry in record.feedback if entry["metric"] == "quality"]
    assert [entry["score"] for entry in scores] == [0.75, 0.75]
    assert all(entry["judge"].startswith(f"rubric:{HAIKU}@") for entry in scores)
    assert report(run, store.battery_cells(run.id), records).spent_usd == pytest.approx(made.spent_usd)


async def test_an_orchestration_is_totalled_by_its_agents(stub):
    sections = [
        {"task_type": "classification", "agents": 10, "generate": {"kind": "tickets", "count": 5}, "judges": [{"judge": "label"}]},
        {"task_type": "math_reasoning", "agents": 3, "generate": {"kind": "sums", "count": 5}, "judges": [{"judge": "numeric"}]},
    ]
    battery = small([LLAMA, HAIKU], {}, sections=sections)
    player = {LLAMA: Pupil({"classification": 1.0}), HAIKU: Pupil({"math_reasoning": 1.0})}
    stub.player = Pupils(player, battery.sections)
    store = MemoryStore()
    async with running(store, stub) as service:
        prepared = await service.prepare(battery)
        await service.run(prepared, max_usd=1.0)
    found = report(prepared.run, store.battery_cells(prepared.run.id), records_of(store, prepared.run.id))
    totals = {total.model: total for total in found.totals}
    assert (totals[LLAMA].agents, totals[LLAMA].quality, totals[HAIKU].quality) == (13, 10 / 13, 3 / 13)
    cost = {cell.task_type: cell.cost_usd.mean for cell in found.cells if cell.model == LLAMA}
    assert totals[LLAMA].cost_usd == pytest.approx(10 * cost["classification"] + 3 * cost["math_reasoning"])
