"""Word problems with one whole number as the answer."""

import math
import random
from collections.abc import Callable

from router.domain.battery import Case

Problem = tuple[str, int, str]
"""The question, the answer, and how to get there."""


def make(rng: random.Random, count: int) -> list[Case]:
    """Cases of every kind in turn."""
    made: list[Case] = []
    seen: set[str] = set()
    while len(made) < count:
        question, answer, way = _KINDS[len(made) % len(_KINDS)](rng)
        if question in seen:
            continue
        seen.add(question)
        prompt = f"{question}\n\nShow the steps briefly, and end with a line 'Answer: N' where N is a whole number."
        off = answer + rng.choice((-2, -1, 1, 2, 10))
        made.append(
            Case(
                f"sum-{len(made) + 1:03}",
                prompt,
                f"{way}\nAnswer: {answer}",
                f"Taking the numbers as they are given:\nAnswer: {off}",
                expect={"expected": (str(answer),)},
            )
        )
    return made


def _trains(rng: random.Random) -> Problem:
    a, b, hours = rng.randrange(40, 95, 5), rng.randrange(50, 120, 10), rng.randint(2, 6)
    apart = (a + b) * hours
    return (
        f"Two trains leave stations {apart} km apart at the same time and run towards each other at {a} km/h and {b} km/h. After how many"
        " hours do they meet?",
        hours,
        f"They close in at {a} + {b} = {a + b} km/h, so they meet after {apart} / {a + b} = {hours} hours.",
    )


def _shop(rng: random.Random) -> Problem:
    pens, price, books, cost = rng.randint(3, 9), rng.randint(2, 5), rng.randint(2, 6), rng.randint(7, 15)
    paid = (pens * price + books * cost) // 10 * 10 + 20
    left = paid - pens * price - books * cost
    return (
        f"Mira buys {pens} pens at {price} euros each and {books} books at {cost} euros each, and pays with {paid} euros. How many euros"
        " does she get back?",
        left,
        f"{pens} * {price} = {pens * price}, {books} * {cost} = {books * cost}, and {paid} - {pens * price + books * cost} = {left}.",
    )


def _committee(rng: random.Random) -> Problem:
    women, men, picked = rng.randint(4, 8), rng.randint(4, 8), rng.randint(1, 2)
    total = math.comb(women, picked) * math.comb(men, 2)
    return (
        f"A committee of {picked + 2} is chosen from {women} women and {men} men and must have exactly {picked} "
        f"{'woman' if picked == 1 else 'women'}. In how many ways can it be chosen?",
        total,
        f"C({women},{picked}) * C({men},2) = {math.comb(women, picked)} * {math.comb(men, 2)} = {total}.",
    )


def _remainder(rng: random.Random) -> Problem:
    base, power, modulus = rng.randint(2, 12), rng.randint(20, 90), rng.choice((7, 9, 11, 13))
    left = pow(base, power, modulus)
    return (f"What is the remainder of {base}^{power} divided by {modulus}?", left, f"By repeated squaring modulo {modulus} it is {left}.")


def _tank(rng: random.Random) -> Problem:
    minutes, factor = rng.randint(3, 12), rng.randint(2, 4)
    first, second = minutes * (factor + 1), minutes * (factor + 1) * factor
    together = first * second // (first + second)
    first, second = first * factor, second * factor
    return (
        f"One pipe fills a tank in {first} minutes, another in {second} minutes. How many minutes do both take together?",
        together * factor,
        f"Together they fill 1/{first} + 1/{second} = 1/{together * factor} of it a minute.",
    )


def _ages(rng: random.Random) -> Problem:
    child, times, later = rng.randint(5, 12), rng.randint(3, 5), rng.randint(3, 10)
    parent = child * times
    return (
        f"A father is {times} times as old as his daughter. In {later} years they will be {parent + child + 2 * later} years old together."
        " How old is the father today?",
        parent,
        f"With d for the daughter: {times}d + d + {2 * later} = {parent + child + 2 * later}, so d = {child} and {times}d = {parent}.",
    )


def _series(rng: random.Random) -> Problem:
    start, step, terms = rng.randint(2, 15), rng.randint(2, 9), rng.randint(10, 30)
    total = terms * (2 * start + (terms - 1) * step) // 2
    return (
        f"The first term of an arithmetic sequence is {start} and each term is {step} larger than the one before. What is the sum of its"
        f" first {terms} terms?",
        total,
        f"{terms} * (2 * {start} + {terms - 1} * {step}) / 2 = {total}.",
    )


def _discount(rng: random.Random) -> Problem:
    price, off, tax = rng.randrange(200, 1000, 100), rng.choice((10, 20, 25, 50)), rng.choice((10, 20))
    cents = price * (100 - off) * (100 + tax) // 100
    return (
        f"A bicycle costs {price} euros. It is reduced by {off} %, and then {tax} % tax is added to the reduced price. How many cents does"
        " the buyer pay?",
        cents,
        f"{price} * (100 - {off}) * (100 + {tax}) / 100 = {cents} cents.",
    )


_KINDS: tuple[Callable[[random.Random], Problem], ...] = (
    _trains,
    _shop,
    _committee,
    _remainder,
    _tank,
    _ages,
    _series,
    _discount,
)
