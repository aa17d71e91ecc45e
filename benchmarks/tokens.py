"""How far the fast estimate of tokens is from the truth: ``python -m benchmarks.tokens [FILE_OR_FOLDER ...] [--encoding o200k_base]``.

Measured against tiktoken, where that is installed (``pip install tiktoken``; its vocabulary comes from the network once, or from the
folder that TIKTOKEN_CACHE_DIR names). Without files it reads what comes with every Python: the language reference as prose, the
standard library as code, and the shipped catalogue as data. Texts are cut into pieces of 100 to 20,000 characters, as prompts are.
"""

import argparse
import json
import random
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from router.domain.classify import estimate_tokens

SMALLEST, LARGEST = 100, 20_000
PIECES = 300
"""Of each kind."""


def main() -> int:
    parser = argparse.ArgumentParser(description="The error of the fast token estimate.")
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders of texts")
    parser.add_argument("--encoding", default="cl100k_base")
    chosen = parser.parse_args()
    try:
        import tiktoken
    except ImportError:
        print("tiktoken is not installed: pip install tiktoken", file=sys.stderr)
        return 2
    encode = tiktoken.get_encoding(chosen.encoding).encode_ordinary
    texts = {"given": list(_read(chosen.paths))} if chosen.paths else _shipped()
    print(f"{'kind':10} {'pieces':>6} {'tokens':>9} {'p50 error':>9} {'p90 error':>9} {'bias':>7} {'us per kB':>9}")
    everything: list[tuple[str, int]] = []
    for kind, found in texts.items():
        measured = [(piece, len(encode(piece))) for piece in _pieces(found)]
        everything += measured
        print(_line(kind, measured))
    print(_line("all", everything))
    return 0


def _line(kind: str, measured: list[tuple[str, int]]) -> str:
    start = time.perf_counter()
    estimates = [estimate_tokens(text) for text, _ in measured]
    spent = time.perf_counter() - start
    errors = sorted(abs(estimate / truth - 1) for estimate, (_, truth) in zip(estimates, measured, strict=True))
    total = sum(truth for _, truth in measured)
    bias = sum(estimates) / total - 1
    p50, p90 = (errors[int(q * (len(errors) - 1))] for q in (0.5, 0.9))
    per_kb = spent * 1e6 / (sum(len(text) for text, _ in measured) / 1_000)
    return f"{kind:10} {len(errors):6} {total:9,} {p50:9.1%} {p90:9.1%} {bias:+7.1%} {per_kb:9.2f}"


def _shipped() -> dict[str, list[str]]:
    library = Path(sysconfig.get_paths()["stdlib"])
    catalogue = tomllib.loads(files("router").joinpath("catalog_data", "models.toml").read_text("utf-8"))
    def read(path: Path) -> str:
        return path.read_text("utf-8", "replace")

    return {
        "prose": [read(library / "pydoc_data" / "topics.py").replace("\\n", "\n")],
        "code": [read(path) for path in sorted(library.glob("*.py"))],
        "data": [json.dumps(catalogue["models"], indent=indent) for indent in (None, 2)],
    }


def _read(paths: Iterable[Path]) -> Iterable[str]:
    for path in paths:
        found = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for one in found:
            yield one.read_text("utf-8", "replace")


def _pieces(texts: list[str]) -> Iterable[str]:
    rng = random.Random(4)
    longest = [text for text in texts if len(text) >= SMALLEST]
    weights = [len(text) for text in longest]
    for text in rng.choices(longest, weights, k=PIECES):
        length = min(len(text), int(SMALLEST * (LARGEST / SMALLEST) ** rng.random()))
        start = rng.randrange(len(text) - length + 1)
        yield text[start : start + length]


if __name__ == "__main__":
    raise SystemExit(main())
