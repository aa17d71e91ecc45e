"""Events are the same wherever the bytes are cut."""

import pytest

from adapters.sse import EventReader, ServerEvent

STREAM = b'event: first\r\ndata: {"a": 1}\r\n\r\n: a comment\n\ndata:b\ndata: c\n\nevent: \xc3\xa9\rdata: \xe2\x80\xa8\r\rdata: cut short\n'
EVENTS = [ServerEvent("first", b'{"a": 1}'), ServerEvent("", b"b\nc"), ServerEvent("é", b"\xe2\x80\xa8")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(STREAM)])
def test_in_pieces_of_one_size(size: int) -> None:
    reader = EventReader()
    assert [event for i in range(0, len(STREAM), size) for event in reader.read(STREAM[i : i + size])] == EVENTS


def test_cut_at_every_place() -> None:
    for at in range(len(STREAM) + 1):
        reader = EventReader()
        assert [*reader.read(STREAM[:at]), *reader.read(STREAM[at:])] == EVENTS
