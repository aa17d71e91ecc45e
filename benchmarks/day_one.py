"""What a battery of a few cases per cell saves on the first day: ``python -m benchmarks.day_one TABLE``.

Plays every seed's stream twice with the service's learner, from a cold start and after every model has played the same few prompts of
each task type, and compares the regret of the first 500 decisions against the best model per task type in hindsight.
"""

import argparse
import json
from pathlib import Path
from statistics import mean

from router.services.replay import FIRST_DAY, ReplayOptions, replay
from router.storage.outcome_files import read_outcomes


def main() -> None:
    """Play, print a line per setting, and say whether half was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="recorded outcomes, as for 'pointsman replay'")
    parser.add_argument("--per-cell", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cost-weights", type=float, nargs="+", default=[0.0, 0.3])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    table = read_outcomes(given.table)
    found = []
    for weight in given.cost_weights:
        regrets = {
            n: [
                replay(table, ReplayOptions(seed=seed, cost_weight=weight, warm_per_cell=n))[0]["first_day"]["regret"]
                for seed in range(given.seeds)
            ]
            for n in (0, given.per_cell)
        }
        cold, warm = mean(regrets[0]), mean(regrets[given.per_cell])
        found.append({"cost_weight": weight, "cold": cold, "warm": warm, "ratio": warm / cold, "by_seed": regrets})
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{given.table.name}: mean regret of the first {FIRST_DAY} decisions over {given.seeds} seeds")
    for row in found:
        pairs = zip(row["by_seed"][0], row["by_seed"][given.per_cell], strict=True)
        halves = sum(warm <= cold / 2 for cold, warm in pairs)
        print(
            f"  cost weight {row['cost_weight']:g}: cold {row['cold']:.4f}, after {given.per_cell} per cell {row['warm']:.4f}"
            f" ({row['ratio']:.2f} of it; at most half on {halves} of {given.seeds} seeds)"
        )


if __name__ == "__main__":
    main()
