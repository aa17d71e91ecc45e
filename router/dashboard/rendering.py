"""Templates to pages. Everything in them is escaped; scripts and styles come from our own files only."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from router.dashboard import assets, formats

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page from a template."""
    body = environment().get_template(template).render(**values)
    return Response(body, status, headers=HEADERS, media_type="text/html")


def told(value: Any, status: int = 200) -> Response:
    """JSON for our own script."""
    return Response(msgspec.json.encode(value), status, headers=HEADERS, media_type="application/json")


@cache
def environment() -> "Environment":
    """The templates, compiled once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here: a service that nobody looks at needs none

    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= formats.FILTERS | {"json": lambda value: msgspec.json.encode(value).decode()}
    made.globals |= {"asset": assets.url, "ago": formats.ago, "clock": formats.clock}
    return made
