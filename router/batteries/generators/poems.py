"""Acrostic poems with words that must appear: creative, and yet to be checked."""

import random

from router.domain.battery import Case

_LINES = {
    "A": "All night the harbour hums a borrowed tune",
    "B": "Beneath the bridge the water keeps its own counsel",
    "C": "Clouds lean on the hills like tired travellers",
    "D": "Doors left ajar let the evening wander in",
    "E": "Every window holds a smaller sun",
    "F": "Far off, a dog explains the dark to no one",
    "G": "Gulls write their short opinions on the wind",
    "H": "Here even the stones remember rain",
    "I": "In the orchard the ladders dream of fruit",
    "K": "Kettles begin their slow applause",
    "L": "Late trains stitch the valley to the sky",
    "M": "Morning arrives with flour on its hands",
    "N": "No map is older than this path",
    "O": "Over the rooftops drifts the smell of bread",
    "P": "Paper boats set out for the end of the street",
    "R": "Rust draws its slow flowers on the gate",
    "S": "Someone has hung the washing out like flags",
    "T": "The clock forgives the hour it has lost",
    "U": "Under the ice a river turns in its sleep",
    "V": "Voices go by and leave their warmth behind",
    "W": "We count the swallows and come out wrong",
    "Y": "Yesterday waits on the bench with folded hands",
}
_WORDS = (
    "RIVER", "STONE", "MARKET", "WINTER", "HARBOUR", "LANTERN", "ORCHARD", "SUMMIT", "BRIDGE", "MEADOW", "THUNDER", "COTTON",
    "PEPPER", "ISLAND", "VIOLIN", "CANDLE", "FOREST", "MIRROR", "TRAVEL", "WINDOW", "GARDEN", "ANCHOR", "COPPER", "DESERT",
)  # fmt: skip
_WANTED = ("salt", "velvet", "compass", "feather", "amber", "ledger", "thimble", "saffron", "gravel", "pollen", "silver", "echo")
_MOODS = ("hopeful", "melancholy", "playful", "calm", "restless")


def make(rng: random.Random, count: int) -> list[Case]:
    """Cases with a word to spell and two words to use."""
    made: list[Case] = []
    words = rng.sample(_WORDS, len(_WORDS))
    for number in range(count):
        word = words[number % len(words)]
        first, second = rng.sample(_WANTED, 2)
        mood = rng.choice(_MOODS)
        prompt = (
            f"Write a {mood} poem of exactly {len(word)} lines whose first letters spell {word} from top to bottom. The words '{first}' and"
            f" '{second}' must appear in it. Write only the poem, one line of it per line."
        )
        lines = [_LINES[letter] for letter in word]
        lines[1] += f", {first} on its breath"
        lines[-1] += f", and {second} in the light"
        made.append(
            Case(
                f"poem-{number + 1:03}",
                prompt,
                "\n".join(lines),
                f"This is a {mood} poem.\nIt has two lines, and they say little about anything.",
                expect={
                    "pattern": r"\A\s*" + r"\n\s*".join(rf"{letter}[^\n]+" for letter in word) + r"\s*\Z",
                    "contains": (first, second),
                },
            )
        )
    return made
