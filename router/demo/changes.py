"""What happens to the scripted world half-way: one model in use gets worse in silence, another gets cheaper in the catalogue."""

from router.demo.driver import Driver
from router.demo.report import Change
from router.demo.service import Caller, model_path
from router.demo.workload import ScriptedWorkload
from router.domain.models import Price

LOSS = 0.25
"""Of mean quality, on every task type."""
CUT = 0.1
"""Of the price: what is left."""


def degrade(driver: Driver, workload: ScriptedWorkload) -> Change | None:
    """Make the busiest model worse without telling anyone."""
    with driver.lock:
        at = len(driver.tally.routed)
        busy = driver.tally.shares(at // 2, at)
    if not busy:
        return None
    model = next(iter(busy))
    workload.world.degrade(model, delta=LOSS)
    return Change("degraded", model, at, f"{model} was silently degraded: {LOSS:.2f} of its quality gone on every task type")


def cut_price(driver: Driver, workload: ScriptedWorkload, caller: Caller, *, spare: str | None) -> Change | None:
    """Cut the price of the little-used model that it helps most, through the API as an operator would."""
    with driver.lock:
        at = len(driver.tally.routed)
        busy = driver.tally.shares(at // 2, at)
        candidates = [model for model in workload.models if model != spare and busy.get(model, 0.0) < 0.1]
        gains = {model: _gain(driver, workload, model) for model in candidates}
    model = max(gains, key=lambda name: gains[name], default=None)
    if model is None:
        return None
    old = workload.prices[model]
    new = Price(old.input_usd_per_mtok * CUT, old.output_usd_per_mtok * CUT)
    body = {"input_usd_per_mtok": new.input_usd_per_mtok, "output_usd_per_mtok": new.output_usd_per_mtok, "source": "the demo's price cut"}
    caller.call("PATCH", model_path(model), {"price": body})
    workload.prices[model] = new
    was, now = (f"${price.input_usd_per_mtok:g} / ${price.output_usd_per_mtok:g}" for price in (old, new))
    return Change("price_cut", model, at, f"the price of {model} was cut from {was} to {now} per million tokens")


def _gain(driver: Driver, workload: ScriptedWorkload, model: str) -> tuple[int, float]:
    """Calls on which the model would be the best after the cut, by the truth; then how little it would fall short of the best."""
    tally, won, short = driver.tally, 0, 0.0
    for task_type, n in tally.by_type.items():
        worth: dict[str, float] = {}
        for other in workload.models:
            quality, sums = workload.truth(other, task_type), tally.what_if.get((0, task_type, other))
            if quality is None or sums is None:
                continue
            means = sums.means()
            cost = (means["cost_usd"] or 0.0) * (CUT if other == model else 1.0)
            worth[other] = tally.worth.of(quality, cost, means["latency_s"])
        if model in worth:
            gap = max(worth.values()) - worth[model]
            won, short = won + n * (gap == 0), short + n * gap
    return won, -short
