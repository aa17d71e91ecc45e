"""A battery of models whose quality is known: the guide ranks them so, and the intervals hold the truth."""

import pytest

from router.domain.catalog import load_shipped
from router.domain.guide import State
from router.storage.memory import MemoryStore
from router.testing import Pupil, Pupils
from tests.batteries.conftest import running, small
from tests.services.evidence import learned

pytest.importorskip("openai", reason="the openai SDK is an extra of the distribution: pip install 'pointsman[openai]'")
pytest.importorskip("aiohttp", reason="its aiohttp transport comes with the same extra")

SMALL, LARGE, TINY = "cerebras/llama3.1-8b", "cerebras/llama3.1-70b", "deepinfra/TinyLlama/TinyLlama-1.1B-Chat-v1.0"
MATHS = "deepinfra/deepseek-ai/deepseek-math-7b-instruct"
TRUTH = {
    "classification": {LARGE: 0.95, SMALL: 0.6, TINY: 0.2},
    "math_reasoning": {MATHS: 0.9, LARGE: 0.55, SMALL: 0.3, TINY: 0.05},
}


async def test_the_guide_ranks_models_as_scripted(stub):
    asked = {"classification": ("label", "tickets", 30), "math_reasoning": ("numeric", "sums", 30)}
    battery = small([LARGE, SMALL, TINY, MATHS], asked, limits={"default": {"concurrency": 8}})
    pupils = {model: Pupil({task: rates.get(model, 0.0) for task, rates in TRUTH.items()}) for model in battery.models}
    stub.player = Pupils(pupils, battery.sections, seed=4)
    store = MemoryStore()
    async with running(store, stub) as service:
        await service.run(await service.prepare(battery), max_usd=1.0)
    async with learned(store, load_shipped()) as service:
        guide = await service.guide()
    covered = []
    for task in guide.task_types:
        cells = {cell.model: cell for cell in task.cells}
        by_quality = sorted((c for c in task.cells if c.state is State.MEASURED), key=lambda cell: -cell.quality.mean)
        assert [cell.model for cell in by_quality] == list(TRUTH[task.task_type])
        assert task.recommended == task.best_quality == by_quality[0].model
        covered += [cells[m].quality.low <= rate <= cells[m].quality.high for m, rate in TRUTH[task.task_type].items()]
        if task.task_type == "classification":
            assert (cells[MATHS].state, cells[MATHS].reason) == (State.SKIPPED, "a specialist of math")
    assert len(covered) == 7
    assert sum(covered) >= 6  # nine in ten, and the draw is fixed
