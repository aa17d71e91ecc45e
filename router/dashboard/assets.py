"""The few files that the pages load: all of them ship with the package."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
PATH = "/dashboard/static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",  # the address holds a digest of the content
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, ready to send."""

    body: bytes
    packed: bytes
    kind: str
    version: str


@cache
def assets() -> dict[str, Asset]:
    """Every file by its name."""
    found = {}
    for file in sorted(FOLDER.iterdir()):
        if file.suffix in _KINDS:
            body = file.read_bytes()
            version = hashlib.blake2b(body, digest_size=6).hexdigest()
            found[file.name] = Asset(body, gzip.compress(body, 6, mtime=0), _KINDS[file.suffix], version)
    return found


def url(name: str) -> str:
    """The address of a file as it is now."""
    return f"{PATH}/{name}?v={assets()[name].version}"


async def send(request: Request) -> Response:
    """A file, by its name; open to all, since every installation has the same."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return Response(status_code=404)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, media_type=asset.kind, headers=_HEADERS | {"Content-Encoding": "gzip"})
    return Response(asset.body, media_type=asset.kind, headers=_HEADERS)
