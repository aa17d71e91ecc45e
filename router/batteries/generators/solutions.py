"""Model solutions of the small functions: each docstring is the task, ``ARGUMENTS`` draws inputs for the tests."""

import random
from collections.abc import Callable, Mapping
from typing import Any


def merge_intervals(intervals: list[list[int]]) -> list[list[int]]:
    """Merge overlapping or touching closed intervals [low, high] and return them sorted."""
    merged: list[list[int]] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], high)
        else:
            merged.append([low, high])
    return merged


def run_lengths(text: str) -> str:
    """Encode a text by run lengths: "aaab" becomes "a3b1"; the empty text stays empty."""
    parts: list[str] = []
    start = 0
    for i in range(1, len(text) + 1):
        if i == len(text) or text[i] != text[start]:
            parts.append(f"{text[start]}{i - start}")
            start = i
    return "".join(parts)


def balanced(text: str) -> bool:
    """Whether the brackets ()[]{} of a text are balanced and properly nested; other characters do not matter."""
    closing = {")": "(", "]": "[", "}": "{"}
    opened: list[str] = []
    for character in text:
        if character in closing.values():
            opened.append(character)
        elif character in closing and (not opened or opened.pop() != closing[character]):
            return False
    return not opened


def roman(number: int) -> str:
    """Write a number from 1 to 3999 as a Roman numeral."""
    values = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"))
    written = ""
    for value, sign in (*values, (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")):
        written += sign * (number // value)
        number %= value
    return written


def longest_rise(numbers: list[int]) -> int:
    """Length of the longest strictly increasing run of neighbours in a list; 0 for an empty one."""
    longest = current = 0
    for i, number in enumerate(numbers):
        current = current + 1 if i and number > numbers[i - 1] else 1
        longest = max(longest, current)
    return longest


def rotate(numbers: list[int], steps: int) -> list[int]:
    """Rotate a list to the right by some steps (to the left where negative); the list given stays as it is."""
    if not numbers:
        return []
    cut = -steps % len(numbers)
    return numbers[cut:] + numbers[:cut]


def word_counts(text: str) -> dict[str, int]:
    """Count the words of a text, in lower case; words are runs of letters."""
    counts: dict[str, int] = {}
    for word in "".join(c if c.isalpha() else " " for c in text.lower()).split():
        counts[word] = counts.get(word, 0) + 1
    return counts


def two_sum(numbers: list[int], target: int) -> list[int]:
    """The indices i < j of the two numbers that add up to the target, as [i, j] with the smallest j; [] where there are none."""
    seen: dict[int, int] = {}
    for j, number in enumerate(numbers):
        if target - number in seen:
            return [seen[target - number], j]
        seen.setdefault(number, j)
    return []


def primes_below(limit: int) -> list[int]:
    """All prime numbers smaller than a limit, in order."""
    return [n for n in range(2, limit) if all(n % d for d in range(2, int(n**0.5) + 1))]


def caesar(text: str, shift: int) -> str:
    """Shift the letters a-z and A-Z of a text by some places, wrapping around and keeping their case; all else stays."""
    shifted = ""
    for character in text:
        if character.isascii() and character.isalpha():
            base = ord("a") if character.islower() else ord("A")
            character = chr((ord(character) - base + shift) % 26 + base)
        shifted += character
    return shifted


def transpose(rows: list[list[int]]) -> list[list[int]]:
    """Transpose a matrix given as a list of rows."""
    return [list(column) for column in zip(*rows, strict=True)]


def flatten(nested: list[object]) -> list[object]:
    """Flatten a list of numbers and lists, nested to any depth, from left to right."""
    flat: list[object] = []
    for item in nested:
        flat += flatten(item) if isinstance(item, list) else [item]
    return flat


def digits_sum(number: int, base: int) -> int:
    """The sum of the digits of a number written in some base from 2 to 36."""
    total = 0
    while number:
        number, digit = divmod(number, base)
        total += digit
    return total


def second_largest(numbers: list[int]) -> int | None:
    """The second largest of the distinct numbers of a list, or None where there are fewer than two."""
    distinct = sorted(set(numbers))
    return distinct[-2] if len(distinct) > 1 else None


def bisect_left(numbers: list[int], value: int) -> int:
    """The first position in a sorted list at which a value could be inserted so that the list stays sorted; without a module."""
    low, high = 0, len(numbers)
    while low < high:
        middle = (low + high) // 2
        if numbers[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


def leap_years(first: int, last: int) -> int:
    """How many leap years of the Gregorian calendar lie between two years, both included."""
    return sum(1 for year in range(first, last + 1) if (year % 4 == 0 and year % 100) or year % 400 == 0)


def chunks(numbers: list[int], size: int) -> list[list[int]]:
    """Cut a list into pieces of some size; the last one may be shorter."""
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def common_prefix(words: list[str]) -> str:
    """The longest common prefix of a list of words; the empty text for an empty list."""
    if not words:
        return ""
    shortest = min(words, key=len)
    for i, letter in enumerate(shortest):
        if any(word[i] != letter for word in words):
            return shortest[:i]
    return shortest


def edit_distance(a: str, b: str) -> int:
    """The smallest number of insertions, deletions and replacements of one letter that turn one word into another."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        last = row
        row = [i]
        for j, right in enumerate(b, start=1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (left != right)))
    return row[-1]


def coins(amount: int, values: list[int]) -> int:
    """In how many ways an amount can be paid with coins of some distinct values, each as often as wanted, in any order."""
    ways = [1] + [0] * amount
    for value in values:
        for total in range(value, amount + 1):
            ways[total] += ways[total - value]
    return ways[amount]


def moving_sum(numbers: list[int], width: int) -> list[int]:
    """The sums of every window of some width over a list; [] where the list is shorter than the window."""
    return [sum(numbers[i : i + width]) for i in range(len(numbers) - width + 1)]


def to_base(number: int, base: int) -> str:
    """Write a whole number, not negative, in a base from 2 to 16 with the digits 0-9a-f."""
    if number == 0:
        return "0"
    written = ""
    while number:
        number, digit = divmod(number, base)
        written = "0123456789abcdef"[digit] + written
    return written


def is_anagram(a: str, b: str) -> bool:
    """Whether two texts have the same letters equally often; case and everything that is no letter do not matter."""
    left, right = (sorted(c for c in text.lower() if c.isalpha()) for text in (a, b))
    return left == right


def majority(numbers: list[int]) -> int | None:
    """The number that makes up more than half of a list, or None."""
    return next((n for n in set(numbers) if 2 * numbers.count(n) > len(numbers)), None)


def _numbers(rng: random.Random, least: int = 0, most: int = 9) -> list[int]:
    return [rng.randint(-9, 9) for _ in range(rng.randint(least, most))]


def _word(rng: random.Random, letters: str = "abc", most: int = 8) -> str:
    return "".join(rng.choice(letters) for _ in range(rng.randint(1, most)))


def _nested(rng: random.Random, depth: int = 3) -> list[Any]:
    return [_nested(rng, depth - 1) if depth and rng.random() < 0.4 else rng.randint(0, 9) for _ in range(rng.randint(1, 3))]


def _intervals(rng: random.Random) -> list[list[int]]:
    lows = [rng.randint(0, 20) for _ in range(rng.randint(1, 5))]
    return [[low, low + rng.randint(0, 6)] for low in lows]


ARGUMENTS: Mapping[str, Callable[[random.Random], tuple[Any, ...]]] = {
    "merge_intervals": lambda rng: (_intervals(rng),),
    "run_lengths": lambda rng: (_word(rng, "ab"),),
    "balanced": lambda rng: (rng.choice(("", "a(b)[c]", "{[()]}", "([)]", "((", "x}", "f(g[h{i}])")),),
    "roman": lambda rng: (rng.randint(1, 3999),),
    "longest_rise": lambda rng: (_numbers(rng),),
    "rotate": lambda rng: (_numbers(rng), rng.randint(-12, 12)),
    "word_counts": lambda rng: (" ".join(rng.choice(("Red", "red,", "blue", "green!", "BLUE")) for _ in range(6)),),
    "two_sum": lambda rng: (_numbers(rng, 2), rng.randint(-9, 9)),
    "primes_below": lambda rng: (rng.randint(0, 60),),
    "caesar": lambda rng: (rng.choice(("Hello, World", "xyz", "A-b-C 123")), rng.randint(-30, 30)),
    "transpose": lambda rng: ([[rng.randint(0, 9) for _ in range(3)] for _ in range(rng.randint(1, 4))],),
    "flatten": lambda rng: (_nested(rng),),
    "digits_sum": lambda rng: (rng.randint(0, 10_000), rng.randint(2, 36)),
    "second_largest": lambda rng: (_numbers(rng, 0, 5),),
    "bisect_left": lambda rng: (sorted(_numbers(rng)), rng.randint(-10, 10)),
    "leap_years": lambda rng: (1890 + rng.randint(0, 20), 1990 + rng.randint(0, 120)),
    "chunks": lambda rng: (_numbers(rng), rng.randint(1, 4)),
    "common_prefix": lambda rng: ([rng.choice(("inter", "inte", "in")) + _word(rng, "xyz", 3) for _ in range(rng.randint(0, 4))],),
    "edit_distance": lambda rng: (_word(rng), _word(rng)),
    "coins": lambda rng: (rng.randint(0, 30), rng.sample((1, 2, 5, 10, 20), 3)),
    "moving_sum": lambda rng: (_numbers(rng), rng.randint(1, 4)),
    "to_base": lambda rng: (rng.randint(0, 5_000), rng.randint(2, 16)),
    "is_anagram": lambda rng: (rng.choice(("Dormitory", "listen", "night")), rng.choice(("dirty room", "Silent", "thing", "light"))),
    "majority": lambda rng: ([rng.choice((1, 1, 1, 2, 3)) for _ in range(rng.randint(0, 7))],),
}
