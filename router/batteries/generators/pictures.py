"""Small drawings made here, pixel by pixel, and questions about them."""

import base64
import random
import struct
import zlib

from router.domain.battery import Case

Pixel = tuple[int, int, int]
_SIDE = 96
_COLOURS: dict[str, Pixel] = {
    "red": (214, 40, 40), "blue": (38, 84, 196), "green": (46, 150, 72), "yellow": (246, 200, 30), "black": (20, 20, 20),
    "purple": (128, 60, 170),
}  # fmt: skip
_SHAPES = ("circle", "square", "triangle", "cross")
_PLACES = {"top left": (26, 26), "top right": (70, 26), "bottom left": (26, 70), "bottom right": (70, 70)}
_ORDINALS = ("first", "second", "third", "fourth", "fifth")


def make(rng: random.Random, count: int) -> list[Case]:
    """Descriptions, counts and bar charts in turn."""
    kinds = (_describe, _count, _bars)
    return [kinds[number % len(kinds)](rng, f"picture-{number + 1:03}") for number in range(count)]


def _describe(rng: random.Random, name: str) -> Case:
    picture = [[(255, 255, 255)] * _SIDE for _ in range(_SIDE)]
    places = rng.sample(list(_PLACES), 2)
    drawn = [(rng.choice(_SHAPES), colour) for colour in rng.sample(list(_COLOURS), 2)]
    for (shape, colour), place in zip(drawn, places, strict=True):
        _draw(picture, shape, _COLOURS[colour], *_PLACES[place], 17)
    (one, other), (here, there) = drawn, places
    phrases = (f"{one[1]} {one[0]}", here, f"{other[1]} {other[0]}", there)
    spare = [colour for colour in _COLOURS if colour not in (one[1], other[1])]
    return Case(
        name,
        "Describe the picture in one sentence. Name each figure by its colour and shape (circle, square, triangle or cross) and say where"
        " it is (top left, top right, bottom left or bottom right).",
        f"On a white ground there is a {phrases[0]} at the {here} and a {phrases[2]} at the {there}.",
        f"The picture shows a {spare[0]} line and some {spare[1]} dots in the middle.",
        _png(picture),
        {"contains": phrases},
    )


def _count(rng: random.Random, name: str) -> Case:
    picture = [[(255, 255, 255)] * _SIDE for _ in range(_SIDE)]
    shape, colour = rng.choice(_SHAPES), rng.choice(list(_COLOURS))
    other = rng.choice([c for c in _COLOURS if c != colour])
    cells = rng.sample([(16 + 32 * x, 16 + 32 * y) for x in range(3) for y in range(3)], rng.randint(4, 9))
    wanted = rng.randint(1, len(cells) - 1)
    for i, (x, y) in enumerate(cells):
        _draw(picture, shape, _COLOURS[colour if i < wanted else other], x, y, 10)
    plural = "crosses" if shape == "cross" else f"{shape}s"
    return Case(
        name,
        f"How many {colour} {plural} are in the picture? Answer with one sentence that ends on the number in digits.",
        f"The number of {colour} {plural} in the picture is {wanted}",
        f"The number of {colour} {plural} in the picture is {wanted + rng.choice((1, 2, 3))}",
        _png(picture),
        {"contains": (str(wanted),)},
    )


def _bars(rng: random.Random, name: str) -> Case:
    picture = [[(255, 255, 255)] * _SIDE for _ in range(_SIDE)]
    heights = rng.sample(range(12, 88, 8), 4)
    colours = rng.sample(list(_COLOURS), 4)
    for i, (height, colour) in enumerate(zip(heights, colours, strict=True)):
        for y in range(_SIDE - height, _SIDE):
            picture[y][8 + 22 * i : 22 + 22 * i] = [_COLOURS[colour]] * 14
    tallest = heights.index(max(heights))
    least = heights.index(min(heights))
    return Case(
        name,
        "The picture is a bar chart. Which bar is the tallest? Answer in one sentence with its colour and its position from the left"
        " (first, second, third or fourth).",
        f"The tallest bar is the {colours[tallest]} one, the {_ORDINALS[tallest]} from the left.",
        f"The tallest bar is the {colours[least]} one, the {_ORDINALS[least]} from the left.",
        _png(picture),
        {"contains": (colours[tallest], _ORDINALS[tallest])},
    )


def _draw(picture: list[list[Pixel]], shape: str, colour: Pixel, x: int, y: int, r: int) -> None:
    for dy in range(-r, r + 1):
        for dx in range(-r, r + 1):
            inside = {
                "circle": dx * dx + dy * dy <= r * r,
                "square": True,
                "triangle": 2 * abs(dx) <= dy + r,
                "cross": min(abs(dx), abs(dy)) <= r // 3,
            }
            if inside[shape]:
                picture[y + dy][x + dx] = colour


def _png(picture: list[list[Pixel]]) -> str:
    """A data URL of a PNG with 8 bits for each of red, green and blue."""
    rows = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in picture)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", len(picture[0]), len(picture), 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
