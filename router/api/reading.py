"""Reads a body: declared as JSON, parsed and checked in one pass over its bytes."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request

from router.api.errors import ContentTypeUnsupported, RequestInvalid, invalid
from router.api.schemas import MAX_BATCH
from router.errors import RouterError

M = TypeVar("M", bound=BaseModel)

_BLANKS = b" \t\r\n"
_MAX_KEY = 255


async def read(request: Request, model: type[M]) -> M:
    """The body as ``model``.

    Raises ``ContentTypeUnsupported``, ``BodyUnreadable`` or ``RequestInvalid`` naming the field.
    """
    body = await _json_bytes(request)
    try:
        return model.model_validate_json(body)
    except ValidationError as exc:
        raise _without_input(exc) from None  # the original holds the input


class OneOrMany(Generic[M]):
    """Reads bodies that are one object or a list of them."""

    def __init__(self, model: type[M]) -> None:
        self._one = model
        many: Any = Annotated[list[model], Field(min_length=1, max_length=MAX_BATCH)]  # type: ignore[valid-type]  # made at run time
        self._many: TypeAdapter[list[M]] = TypeAdapter(many)

    async def read(self, request: Request) -> tuple[list[M], bool]:
        """The items, and whether they came as a list. Raises as ``read`` does."""
        body = await _json_bytes(request)
        try:
            if body.lstrip(_BLANKS)[:1] == b"[":
                return self._many.validate_json(body), True
            return [self._one.model_validate_json(body)], False
        except ValidationError as exc:
            raise _without_input(exc) from None  # the original holds the input


def idempotency_key(request: Request) -> str | None:
    """The ``Idempotency-Key`` header.

    Raises ``RequestInvalid`` where it is empty, too long or not printable ASCII.
    """
    for name, value in request.scope["headers"]:
        if name == b"idempotency-key":
            if not 0 < len(value) <= _MAX_KEY or not all(32 < byte < 127 for byte in value):
                raise RequestInvalid(
                    "the idempotency key cannot be used",
                    field="Idempotency-Key",
                    remedy=f"send 1 to {_MAX_KEY} printable ASCII characters without blanks, for example a UUID",
                )
            return str(value, "ascii")
    return None


async def _json_bytes(request: Request) -> bytes:
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            if value != b"application/json" and not _is_json(value):
                break
            return await _body(request)
    # A page in a browser may send other types across origins without asking; this one it may not.
    raise ContentTypeUnsupported(
        "the body is not declared as JSON in UTF-8", field="Content-Type", remedy="send the header Content-Type: application/json"
    )


async def _body(request: Request) -> bytes:
    pieces: list[bytes] = []
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _is_json(value: bytes) -> bool:
    kind, _, parameters = value.lower().partition(b";")
    kind = kind.strip()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        return False
    charset = parameters.strip().removeprefix(b"charset=").strip(b'" ')
    return b"charset" not in parameters or charset in (b"utf-8", b"utf8", b"us-ascii")


def _without_input(exc: ValidationError) -> RouterError:
    return invalid(exc.errors(include_url=False, include_input=False))
