"""The scripted provider: its table, its draws and its answers."""

import math
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from adapters.errors import ProviderDown, ProviderTimeout, RequestRejected
from adapters.scripted import ScriptedAdapter, ScriptedWorld, shipped_table, task_number
from adapters.types import CompletionRequest, FinishReason, Image, Message, Text
from router.domain.catalog import load_shipped
from router.domain.models import Modality
from router.domain.tasks import TASK_TYPES

RAW = tomllib.loads(Path(str(files("adapters").joinpath("scripted_world.toml"))).read_text(encoding="utf-8"))
TABLE = shipped_table()
DRAWS = 600
CELLS = [(task, model) for task, row in TABLE.tasks.items() for model in row.rates]


def request(task: int | None = 1, task_type: str = "code_generation", model: str = "openai/gpt-4o", **facts: object) -> CompletionRequest:
    metadata = {"task_type": task_type} | ({} if task is None else {"task": str(task)})
    return CompletionRequest(model, (Message("user", "Add two numbers."),), metadata=metadata, **facts)  # type: ignore[arg-type]


class TestTable:
    def test_it_covers_all_task_types_and_a_dozen_models_of_the_catalogue(self) -> None:
        assert set(TABLE.tasks) == set(TASK_TYPES)
        assert 12 <= len(TABLE.models) <= 16
        catalog = load_shipped()
        for model in TABLE.models:
            assert catalog.get(model).price is not None

    def test_every_model_answers_every_task_type_it_can_read(self) -> None:
        catalog = load_shipped()
        for name, row in TABLE.tasks.items():
            able = {model for model in TABLE.models if name != "multimodal" or Modality.IMAGE in catalog.get(model).modalities}
            assert set(row.rates) == able

    @pytest.mark.parametrize("task", RAW["tasks"], ids=lambda task: task["name"])
    def test_every_aggregate_names_its_source_or_why_it_is_assumed(self, task: dict[str, object]) -> None:
        cells = task["rates"]
        assert isinstance(cells, dict)
        assert task["output_tokens"]["source"] in RAW["sources"]  # type: ignore[index]
        for cell in cells.values():
            assert cell["source"] in RAW["sources"]
            assert (cell["source"] == "assumed") != ("n" in cell)
            assert cell["source"] == "assumed" or cell["as"]
        if any(cell["source"] == "assumed" for cell in cells.values()):
            assert task["assumed"]

    def test_speeds_and_lengths_name_their_source(self) -> None:
        for model in RAW["models"]:
            assert model["latency"]["source"]
            assert model["verbosity"]["source"]
        assert RAW["shared_difficulty_source"]

    def test_a_part_of_the_world_is_measured(self) -> None:
        measured = {task for task, row in TABLE.tasks.items() if list(row.sources.values()).count("assumed") < len(row.sources) / 2}
        assert measured >= {"code_generation", "math_reasoning", "symbolic_reasoning", "constraint_solving"}

    def test_values_are_in_range(self) -> None:
        for row in TABLE.tasks.values():
            assert all(0.02 <= rate <= 0.98 for rate in row.rates.values())
            assert 1 <= row.median_output_tokens <= 2_000
            assert 0 < row.log_output_sd <= 1.5
        for model in TABLE.models.values():
            assert 0 < model.intercept_s < 3
            assert 0 < model.s_per_output_token < 0.1

    def test_task_types_differ_in_their_best_model(self) -> None:
        assert len({max(row.rates, key=row.rates.__getitem__) for row in TABLE.tasks.values()}) >= 3


class TestDraws:
    @pytest.mark.parametrize("task_type", list(TABLE.tasks))
    def test_mean_quality_is_the_tables_rate_within_sampling_error(self, task_type: str) -> None:
        world = ScriptedWorld(seed=11)
        for model, rate in TABLE.tasks[task_type].rates.items():
            drawn = np.array([world.quality(i, model, task_type) for i in range(DRAWS)])
            error = math.sqrt(rate * (1 - rate) / DRAWS)  # of right or wrong; graded scores spread less
            assert abs(drawn.mean() - rate) <= 4.5 * error, (task_type, model)
            assert drawn.min() >= 0
            assert drawn.max() <= 1

    def test_lengths_and_latencies_follow_the_table(self) -> None:
        world, row = ScriptedWorld(seed=5), TABLE.tasks["code_generation"]
        for model in TABLE.models.values():
            drawn = [world.draw(i, model.id, row.name) for i in range(DRAWS)]
            tokens = np.array([outcome.output_tokens for outcome in drawn])
            residual = np.log([item.latency_s / (model.intercept_s + model.s_per_output_token * item.output_tokens) for item in drawn])
            assert np.median(tokens) == pytest.approx(row.median_output_tokens * model.verbosity, rel=0.08)
            assert np.log(tokens).std() == pytest.approx(row.log_output_sd, rel=0.1)
            assert residual.std() == pytest.approx(model.log_residual_sd, rel=0.1)
            assert abs(residual.mean()) < 4 * model.log_residual_sd / math.sqrt(DRAWS)
            assert all(0 < outcome.ttft_s < outcome.latency_s for outcome in drawn)

    def test_hard_tasks_are_hard_for_all_models(self) -> None:
        world = ScriptedWorld(seed=2)
        one, two = (
            np.array([world.quality(i, model, "math_reasoning") for i in range(DRAWS)])
            for model in ("openai/gpt-4o", "google/gemini-1.5-pro")
        )
        correlation = np.corrcoef(one, two)[0, 1]
        assert 0.35 <= correlation <= 0.6  # of two right-or-wrong scores; 0.7 between the normals behind them

    def test_an_outcome_does_not_depend_on_what_was_asked_before(self) -> None:
        forward, backward = ScriptedWorld(seed=3), ScriptedWorld(seed=3)
        calls = [(i, model, task) for i in range(5) for task, model in CELLS[::20]]
        first = {call: forward.draw(*call) for call in calls}
        assert {call: backward.draw(*call) for call in reversed(calls)} == first

    def test_seeds_and_task_numbers_matter(self) -> None:
        world = ScriptedWorld(seed=3)
        outcomes = {world.draw(i, "openai/gpt-4o", "documentation").quality for i in range(50)}
        assert len(outcomes) == 50
        assert ScriptedWorld(seed=4).draw(0, "openai/gpt-4o", "documentation") != world.draw(0, "openai/gpt-4o", "documentation")

    def test_an_open_task_type_has_the_models_mean(self) -> None:
        world = ScriptedWorld(seed=1)
        assert 0.5 < world.rate("openai/gpt-4o", "tarot_reading") < 0.9
        assert world.draw(1, "openai/gpt-4o", "tarot_reading").output_tokens > 0

    def test_what_a_model_cannot_do_is_rejected(self) -> None:
        world = ScriptedWorld(seed=1)
        with pytest.raises(RequestRejected, match="multimodal"):
            world.draw(1, "cerebras/llama3.1-8b", "multimodal")
        for call in (lambda: world.rate("acme/x", "sentiment"), lambda: world.degrade("acme/x"), lambda: world.fail("acme/x", 1.0)):
            with pytest.raises(RequestRejected):
                call()


class TestDegrade:
    model = "anthropic/claude-3-5-sonnet-20240620"

    def test_one_task_type_gets_worse_and_nothing_else(self) -> None:
        before, after = ScriptedWorld(seed=9), ScriptedWorld(seed=9)
        after.degrade(self.model, "code_generation", delta=0.3)
        assert after.rate(self.model, "code_generation") == pytest.approx(before.rate(self.model, "code_generation") - 0.3)
        assert after.rate(self.model, "sentiment") == before.rate(self.model, "sentiment")
        assert after.rate("openai/gpt-4o", "code_generation") == before.rate("openai/gpt-4o", "code_generation")
        drop = [before.quality(i, self.model, "code_generation") - after.quality(i, self.model, "code_generation") for i in range(DRAWS)]
        assert min(drop) >= 0  # each task gets worse or stays
        assert np.mean(drop) == pytest.approx(0.3, abs=0.03)

    def test_all_task_types_and_back(self) -> None:
        world = ScriptedWorld(seed=9)
        before = world.rate(self.model, "sentiment")
        world.degrade(self.model, delta=0.2)
        assert world.rate(self.model, "sentiment") == pytest.approx(before - 0.2)
        world.degrade(self.model, delta=5.0)
        assert world.rate(self.model, "sentiment") > 0
        world.degrade(self.model, delta=0.0)
        assert world.rate(self.model, "sentiment") == before


class TestAdapter:
    async def test_an_answer_carries_the_worlds_outcome_and_no_truth(self) -> None:
        world = ScriptedWorld(seed=1)
        completion = await ScriptedAdapter(world).complete(request(task=17))
        outcome = world.draw(17, "openai/gpt-4o", "code_generation")
        assert completion.model == "openai/gpt-4o"
        assert completion.usage.output_tokens == outcome.output_tokens
        assert completion.usage.input_tokens == 4
        assert (completion.latency_s, completion.ttft_s) == (outcome.latency_s, outcome.ttft_s)
        assert completion.finish_reason is FinishReason.STOP
        assert completion.cost_usd is None
        assert not hasattr(completion, "quality")

    async def test_the_output_limit_shortens_answer_and_latency(self) -> None:
        adapter = ScriptedAdapter(seed=1)
        full, short = await adapter.complete(request()), await adapter.complete(request(max_output_tokens=20))
        assert short.usage.output_tokens == 20
        assert short.finish_reason is FinishReason.LENGTH
        assert short.ttft_s is not None
        assert short.ttft_s < short.latency_s < full.latency_s

    async def test_a_deadline_is_kept_in_virtual_time(self) -> None:
        with pytest.raises(ProviderTimeout) as late:
            await ScriptedAdapter(seed=1).complete(request(timeout_s=0.01))
        assert late.value.retryable
        assert late.value.model == "openai/gpt-4o"

    async def test_an_outage_hits_its_share_of_calls(self) -> None:
        adapter = ScriptedAdapter(seed=1)
        adapter.world.fail("openai/gpt-4o", 0.3)
        failed = 0
        for i in range(600):
            try:
                await adapter.complete(request(task=i))
            except ProviderDown:
                failed += 1
        assert 0.3 - 0.08 <= failed / 600 <= 0.3 + 0.08
        adapter.world.fail("openai/gpt-4o", 0.0)
        await adapter.complete(request(task=0))
        await adapter.close()

    async def test_an_unknown_model_is_rejected(self) -> None:
        with pytest.raises(RequestRejected):
            await ScriptedAdapter(seed=1).complete(request(model="acme/x"))

    def test_without_a_number_the_messages_fix_it(self) -> None:
        assert task_number(request(task=None)) == task_number(request(task=None))
        other = CompletionRequest("openai/gpt-4o", (Message("user", (Text("Subtract."), Image("data:image/png;base64,AA=="))),))
        assert task_number(other) != task_number(request(task=None))
        assert task_number(request(task=12)) == 12
        with pytest.raises(RequestRejected, match="whole number"):
            task_number(CompletionRequest("openai/gpt-4o", (), metadata={"task": "x1"}))
