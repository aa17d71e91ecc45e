"""``make bench-evaluation``: coverage on simulated logs; estimates beside true replays, what-ifs beside doing them.

ARGS="--table TABLE.parquet" names the recorded outcomes; "--quick" makes a tenth of the runs.
"""

import argparse
import os
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.evaluation import recorded, simulated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="recorded outcomes with several models per prompt")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1_000, help="decisions of a log")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    given = parser.parse_args()
    logs, runs = (given.logs // 10, given.runs // 10) if given.quick else (given.logs, given.runs)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(given.workers) as pool:
        started = time.monotonic()
        if logs:
            simulation([one for many in pool.map(partial(simulated.held, steps=given.steps), range(logs)) for one in many], logs)
        if given.table is None:
            print("\nno table of recorded outcomes was named (--table): the checks against true replays are left out")
        elif runs:
            from router.storage.outcome_files import read_outcomes

            table = read_outcomes(given.table)
            replays(list(pool.map(partial(recorded.check, table, steps=given.steps), range(runs))))
            done(list(pool.map(partial(recorded.do, table, steps=given.steps, cost_weight=0.2), range(runs))))
        print(f"\n{time.monotonic() - started:,.0f} s with {given.workers} processes")


def simulation(all_held: list[simulated.Held], logs: int) -> None:
    """Coverage of 95 % intervals where something was claimed."""
    by_target: dict[str, list[simulated.Held]] = defaultdict(list)
    for one in all_held:
        by_target[one.target].append(one)
    claimed = [one for one in all_held if one.support.enough]
    names = list(all_held[0].inside)
    print(f"{logs} simulated logs; share of 95 % intervals that hold the truth, where the log can tell")
    print(f"{'target':18}{'claimed':>9}" + "".join(f"{name:>20}" for name in names) + f"{'width':>9}")
    for target, ones in [*by_target.items(), ("all", all_held)]:
        told = [one for one in ones if one.support.enough]
        line = "".join(f"{np.mean([one.inside[name] for one in told]):>20.3f}" if told else f"{'–':>20}" for name in names)
        width = np.mean([one.width for one in told]) if told else float("nan")
        print(f"{target:18}{len(told):>5}/{len(ones):<4}{line}{width:>8.3f}")
    refused = [one for one in all_held if one.support.effective < 30]
    print(f"effective sample size below 30: {len(refused)}, claimed all the same: {sum(one.support.enough for one in refused)}")
    share = float(np.mean([one.inside["doubly robust"] for one in claimed]))
    print(f"doubly robust over all targets: {share:.1%} ({'within' if 0.93 <= share <= 0.97 else 'OUTSIDE'} 93-97 %)")


def replays(runs: list[list[recorded.Checked]]) -> None:
    """Estimates from a logged pass beside the true replay on the same prompts."""
    print(f"\n{len(runs)} logged passes over the recorded outcomes: is the true replay's quality in the interval?")
    for j, first in enumerate(runs[0]):
        ones = [run[j] for run in runs]
        told = [one for one in ones if one.inside is not None]
        inside = sum(bool(one.inside) for one in told)
        print(f"  {first.target:18} {inside} of {len(told)}; cannot tell {len(ones) - len(told)}")


def done(runs: list[recorded.Done]) -> None:
    """What-if predictions beside what doing it brought."""
    told = [one for one in runs if one.inside is not None]
    inside = sum(bool(one.inside) for one in told)
    print(f"\nwhat-if of twice the cost weight, then done: quality and cost both in their intervals in {inside} of {len(told)} replays")
    print(f"  cannot tell {len(runs) - len(told)}")
    if told:
        for name in ("quality", "cost_usd"):
            pairs = [(getattr(one.comparison, name), getattr(one, name)) for one in told]
            now, then, real = (np.mean(v) for v in zip(*((p.now.mean, p.then.mean, r) for p, r in pairs), strict=True))
            print(f"  {name}: {now:.5g} before, {then:.5g} predicted, {real:.5g} when done (means)")


if __name__ == "__main__":
    sys.exit(main())
