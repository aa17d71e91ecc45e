"""Data URLs, taken apart."""

import re

from adapters.errors import RequestRejected
from adapters.types import Image

_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(?P<data>[A-Za-z0-9+/=\s_-]+)", re.ASCII)
_TYPES = {"png": "image/png", "webp": "image/webp", "gif": "image/gif", "heic": "image/heic"}


def inline(image: Image, model: str) -> tuple[str, str] | None:
    """The media type and base64 data of a data URL, None for an https one.

    Raises ``RequestRejected`` for any other.
    """
    if image.url.startswith("https://"):
        return None
    found = _DATA_URL.fullmatch(image.url)
    if found is None:
        raise RequestRejected("an image must be an https URL or a data URL with a media type and base64 data", model=model)
    return found["type"], found["data"]


def media_type(image: Image) -> str:
    """What a linked picture probably is, by its name."""
    return _TYPES.get(image.url.partition("?")[0].rpartition(".")[2].lower(), "image/jpeg")
