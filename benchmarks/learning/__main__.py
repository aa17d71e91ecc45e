"""``python -m benchmarks.learning``: play what is missing, then print, draw and write the results."""

import argparse
import multiprocessing
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.learning import coverage
from benchmarks.learning.contenders import TEXTS, absent, entry
from benchmarks.learning.design import FULL, QUICK, Cell, Size, design
from benchmarks.learning.measures import read
from benchmarks.learning.play import Pass, play
from benchmarks.learning.problems import SIMULATED, Problem, find_tables, has_prompts
from benchmarks.learning.report import draw, print_tables, print_verdicts, versions, write_json
from benchmarks.learning.results import Results, key_of
from benchmarks.learning.verdicts import verdicts
from router.services.texts import PROJECTIONS

_COLUMNS = "prompt_id, task_type, model, quality in [0, 1]; optional: cost_usd, input_tokens, output_tokens, latency_s, era"


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="bench-learning", description=__doc__)
    parser.add_argument("--tables", nargs="+", default=[], help=f"parquet or csv files or folders; columns {_COLUMNS}")
    parser.add_argument("--quick", action="store_true", help="a small design in under three minutes")
    parser.add_argument("--only", nargs="+", default=[], help="sections, tables or contenders to play; default all")
    parser.add_argument("--seeds", type=int, help="seeds of the fast contenders")
    parser.add_argument("--texts", choices=PROJECTIONS, default="off", help="Pointsman plays a second time, reading prompts that way")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(".bench/learning"), help="folder of results, picture and JSON")
    args = parser.parse_args()
    console = Console(width=None if Console().is_terminal else 150)
    tables = find_tables(args.tables)
    if not tables:
        console.print(
            f"No tables found: give --tables PATH or POINTSMAN_TABLES. Parquet or csv, one row per prompt and model: {_COLUMNS}.\n"
            "Playing a simulated world instead."
        )
        tables = [SIMULATED]
    size: Size = QUICK if args.quick else FULL
    if args.seeds:
        size = Size(args.seeds, size.prompts, size.march, size.quick)
    for library, names in absent().items():
        if not set(names) <= {one.name for one in TEXTS.values()} - {f"pointsman {args.texts}"}:
            console.print(f"{library} is not installed: {', '.join(names)} cannot play", style="yellow")
    if args.texts != "off" and not any(has_prompts(table) for table in tables):
        parser.error("--texts: none of the tables has a column prompt")
    cells = [c for c in design(tables, size, args.texts) if _asked(c, args.only)]
    run(console, cells, size, args)


def _asked(cell: Cell, only: list[str]) -> bool:
    places = {cell.section, cell.problem.name, cell.problem.setting, *({cell.problem.scenario} - {"stationary"})}
    named = [o for o in only if not _is_contender(o)]
    return not named or all(o in places for o in named)


def _is_contender(name: str) -> bool:
    try:
        return bool(entry(name))
    except StopIteration:
        return False


def run(console: Console, cells: list[Cell], size: Size, args: argparse.Namespace) -> None:
    """Play, then report."""
    started = time.perf_counter()
    results = Results(args.out / "passes.jsonl")
    chosen = {o for o in args.only if _is_contender(o)}
    wanted = [job for cell in cells for job in cell.passes() if not chosen or job[1] in chosen]
    missing = [job for job in dict.fromkeys(wanted) if key_of(*job) not in results]
    missing.sort(key=lambda job: entry(job[1]).seeds is not None)  # the slow ones last
    console.print(f"{len(cells)} cells, {len(wanted)} passes, {len(wanted) - len(missing)} of them known from {results.path}")
    covered = _play_all(
        console, missing, results, args.workers, worlds=0 if chosen and "pointsman" not in chosen else 8 if size.quick else 24
    )
    board = [(cell, read(cell, results)) for cell in cells]
    print_tables(console, board)
    found = verdicts(board, covered)
    print_verdicts(console, found)
    about = {"versions": versions(), "size": repr(size), "seconds": round(time.perf_counter() - started, 1), "passes_played": len(missing)}
    write_json(args.out / "results.json", board, found, about)
    if draw(args.out / "cost_quality.png", board):
        console.print(f"picture: {args.out / 'cost_quality.png'}")
    console.print(f"everything: {args.out / 'results.json'}; {about['seconds']:.0f} s, {len(missing)} passes played")


def _play_all(
    console: Console, jobs: list[tuple[Problem, str, int]], results: Results, workers: int, worlds: int
) -> coverage.Coverage | None:
    """Play on all workers, keeping every pass as soon as it is made."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=console
    )
    context = multiprocessing.get_context("fork")  # the code that was hashed is the code that plays
    for job in jobs:
        key_of(*job)
    with bar, ProcessPoolExecutor(workers, mp_context=context, initializer=_quiet) as pool:
        task = bar.add_task("passes", total=len(jobs) + worlds)
        futures = {pool.submit(_timed, *job): job for job in jobs}
        simulated = [pool.submit(coverage.in_world, seed, 1_500) for seed in range(worlds)]
        for done in as_completed([*futures, *simulated]):
            job = futures.get(done)
            if job is not None:
                made = done.result()
                results.add(key_of(*job), made)
                bar.update(task, description=f"{job[0].name}, {job[1]}")
            bar.advance(task)
        return coverage.summarise([f.result() for f in simulated]) if worlds else None


def _quiet() -> None:
    warnings.simplefilter("ignore")  # libraries' own deprecations are not the subject


def _timed(problem: Problem, contender: str, seed: int) -> Pass:
    return play(problem, contender, seed)


if __name__ == "__main__":
    main()
