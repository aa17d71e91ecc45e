"""What all judges that ask a model share: which model may judge which, how an answer is shown, and how a reply is read.

An answer is data and may be hostile. It is shown as one JSON string inside one JSON object, so nothing in it can end the quotation;
passages that speak to the judge are left out of what it sees; and the reply is read strictly: one JSON object with one of the words
that were asked for, or no score.
"""

import hashlib
import json
from collections.abc import Collection, Sequence

from adapters.types import Message
from router.judging.protocol import Answer, Case, Reply
from router.judging.reading import fenced
from router.judging.screening import addresses_judge, screened

LONGEST = 24_000
"""Characters of an answer that are shown."""
_SHORTENED = "[... the middle was left out ...]"

_LINEAGES = {
    "claude": "claude", "gpt": "gpt", "gemini": "gemini", "gemma": "gemini", "llama": "llama", "mistral": "mistral", "mixtral": "mistral",
    "qwen": "qwen", "deepseek": "deepseek", "yi-": "yi", "phi": "phi", "starcoder": "starcoder",
}  # fmt: skip
"""Who made a model, by what its name holds: a judge favours its own kind."""


def lineage(model: str, family: str = "") -> str:
    """Whose kind a model is; as far as its names tell."""
    text = f"{family} {model.partition('/')[2] or model}".lower()
    found = next((kind for word, kind in _LINEAGES.items() if word in text), None)
    return found or (family or model.rpartition("/")[2]).lower().split("-")[0]


def choose(judges: Sequence[str], answers: Collection[Answer]) -> str | None:
    """The first model that is of another kind than all whose answers it would judge; None where there is none."""
    kinds = {lineage(answer.model, answer.family) for answer in answers if answer.model or answer.family}
    return next((judge for judge in judges if lineage(judge) not in kinds), None)


def shown(text: str, case: Case) -> tuple[str, bool]:
    """An answer as the judge sees it, and whether passages were left out; where the task itself speaks of judging, none are."""
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + _SHORTENED + text[-LONGEST // 2 :]
    if any(addresses_judge(message.text) for message in case.messages):
        return text, False
    seen, found = screened(text)
    return seen, found > 0


def question(system: str, case: Case, **fields: str) -> tuple[Message, ...]:
    """A conversation that puts the case and the answers to a judge as one JSON object."""
    asked = "\n\n".join(f"{message.role}: {message.text}" for message in case.messages)
    told = {"task_type": case.task_type, "task": asked[:LONGEST]} | fields
    return (Message("system", system), Message("user", json.dumps(told, ensure_ascii=False)))


def read(reply: Reply, key: str, words: Collection[str]) -> str | None:
    """The judge's word; None unless the whole reply is one JSON object with just this key and one of the words."""
    text = reply.text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = (fenced(text, "json") or "").strip()
    try:
        said = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    word = said.get(key) if isinstance(said, dict) and len(said) == 1 else None
    return word if isinstance(word, str) and word in words else None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def version_of(*texts: str) -> str:
    """A version that changes with every word of the prompts."""
    return hashlib.sha256("\x00".join(texts).encode()).hexdigest()[:8]


def total(*replies: Reply) -> float | None:
    """What the replies cost together; None where one of them is unknown."""
    costs = [reply.cost_usd for reply in replies if reply.cost_usd is not None]
    return sum(costs) if len(costs) == len(replies) else None
