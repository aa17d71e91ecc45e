"""Finds what a model means as its answer in what it said: fences, boxes, "the answer is ...", the last line."""

import re
import unicodedata

_FENCE = re.compile(r"```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_BOXED = re.compile(r"\\boxed\s*\{")
_SAYS = re.compile(r"(?:final answer|answer|result|label|category|class|sentiment)\s*(?:is|are|:|=)+\s*(.+)", re.IGNORECASE)
_EDGES = " \t\r\n.,;:!?\"'`*_()[]{}<>$"


def plain(text: str) -> str:
    """Text as compared: one kind of blank, no case, no marks around it."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).casefold().strip(_EDGES)


def fenced(text: str, *languages: str) -> str | None:
    """The fenced blocks of the given languages, or without one, joined; None where there is none."""
    blocks = [(language.lower(), body) for language, body in _FENCE.findall(text)]
    wanted = [body for language, body in blocks if language in languages] or [body for language, body in blocks if not language]
    return "\n".join(wanted) if wanted else None


def boxed(text: str) -> str | None:
    r"""What stands in the last ``\boxed{...}``."""
    found = None
    for start in _BOXED.finditer(text):
        depth, at = 1, start.end()
        while at < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        if not depth:
            found = text[start.end() : at - 1]
    return found


def candidates(text: str) -> list[str]:
    """Where the answer may stand, the likeliest first: the box, after "answer:", the last line, the whole."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip(_EDGES)]
    said = [match[1] for line in lines if (match := _SAYS.search(line))]
    box = boxed(text)
    return ([] if box is None else [box]) + said[-1:] + lines[-1:] + [text]
