"""How long a plan takes: 180 agents on 40 models of the shipped catalogue, as six groups and as 180 different tasks.

Times what ``POST /v1/route/batch`` does but for HTTP and the log: the expectations of every task and model, and the solver, with the
first plan's imports apart. Run: make bench-planning
"""

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import yaml

from router import library
from router.api.orchestrations import OrchestrationIn, to_orchestration
from router.domain.orchestration import Agents, Goal, Orchestration
from router.domain.planning import plan
from router.domain.tasks import Constraints

FILE = Path(library.__file__).parent / "orchestration_data" / "180-agents.yaml"
MODELS = 40
ROUNDS = 10


def main() -> None:
    selector = library.selector(None)
    document = OrchestrationIn.model_validate_json(json.dumps(yaml.safe_load(FILE.read_text())))
    job = to_orchestration(document, selector.weights)
    anything = selector.outlook(job.agents[0].task)
    known = [model.id for model in selector.catalog.active if model.price is not None and model.id in anything.models]
    seeing = [model.id for model in selector.catalog.active if "image" in model.modalities and model.id in known]
    only = frozenset((seeing + [model for model in known if model not in seeing])[:MODELS])
    groups = tuple(replace(group, task=replace(group.task, constraints=Constraints(models=only))) for group in job.agents)
    grouped = replace(job, agents=groups)
    distinct = replace(job, agents=tuple(_each(group, n) for group in groups for n in range(group.count)))
    print(f"{MODELS} models; seconds on the clock, median of {ROUNDS} (worst), and of CPU, median")
    for name, wanted in (("180 agents in 6 groups", grouped), ("180 different agents", distinct)):
        for goal in Goal:
            times = [_timed(replace(wanted, goal=goal), selector) for _ in range(ROUNDS + 1)]
            clock, cpu = [wall for wall, _ in times[1:]], [used for _, used in times[1:]]
            spent = f"{statistics.median(clock):.3f} ({max(clock):.3f})  CPU {statistics.median(cpu):.3f}"
            print(f"{name:24s} {goal:10s} first {times[0][0]:.3f}  then {spent}")


def _each(group: Agents, number: int) -> Agents:
    """One agent whose task is no other's."""
    task = replace(group.task, context_tokens=group.task.context_tokens + 7 * number)
    return replace(group, name=f"{group.name} {number}", count=1, task=task)


def _timed(wanted: Orchestration, selector: library.Selector) -> tuple[float, float]:
    begun, used = time.perf_counter(), time.process_time()
    plan(wanted, [selector.outlook(group.task) for group in wanted.agents], selector.catalog)
    return time.perf_counter() - begun, time.process_time() - used


if __name__ == "__main__":
    main()
