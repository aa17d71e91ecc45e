"""Statements about all natural numbers, to be proved, or refuted by the smallest counterexample.

Each kind's truth is decided here: by periodicity or by a polynomial's degree where the statement holds, by search where it fails.
"""

import random
from collections.abc import Callable

from router.domain.battery import Case

Statement = tuple[str, int | None, str]
"""The statement about n >= 1, its smallest counterexample (None: it is true), and the proof of a true one."""

_SEARCHED = 400


def make(rng: random.Random, count: int) -> list[Case]:
    """Cases of every kind in turn; half or more of them true."""
    made: list[Case] = []
    seen: set[str] = set()
    while len(made) < count:
        statement, refuted, proof = _KINDS[len(made) % len(_KINDS)](rng)
        if statement in seen:
            continue
        seen.add(statement)
        prompt = (
            f"Prove or refute: for every whole number n >= 1, {statement}.\n\nGive a short proof, or the smallest n for which it fails. End"
            " with a line of its own: 'Verdict: proved', or 'Verdict: refuted by n = K' with the smallest such K."
        )
        right = "proved" if refuted is None else f"refuted by n = {refuted}"
        wrong = f"refuted by n = {rng.randint(2, 9)}" if refuted is None else "proved"
        told = proof if refuted is None else f"For n = {refuted} it fails, and for no smaller n."
        pattern = r"Verdict:\s*\W*proved\b" if refuted is None else rf"Verdict:\s*\W*refuted by n\s*=\s*{refuted}\b"
        made.append(
            Case(
                f"proof-{len(made) + 1:03}",
                prompt,
                f"{told}\nVerdict: {right}",
                f"Trying a few values of n settles it.\nVerdict: {wrong}",
                expect={"pattern": pattern},
            )
        )
    return made


def _first_failure(holds: Callable[[int], bool], most: int = _SEARCHED) -> int | None:
    return next((n for n in range(1, most + 1) if not holds(n)), None)


def _power_minus_n(rng: random.Random) -> Statement:
    power = rng.choice((3, 5, 7, 9, 11))
    modulus = rng.choice((2, 3, 5, 6, 7, 10, 11, 30, 42))
    return (
        f"n^{power} - n is divisible by {modulus}",
        _first_failure(lambda n: (n**power - n) % modulus == 0),
        f"n^{power} - n modulo {modulus} depends on n modulo {modulus} only, and it is 0 for each of the {modulus} residues.",
    )


def _difference(rng: random.Random) -> Statement:
    small, modulus = rng.randint(2, 6), rng.randint(3, 9)
    large = small + modulus * rng.randint(1, 2) + rng.choice((0, 0, 1))
    return (
        f"{large}^n - {small}^n is divisible by {modulus}",
        _first_failure(lambda n: (pow(large, n, modulus) - pow(small, n, modulus)) % modulus == 0),
        f"{large} and {small} leave the same remainder modulo {modulus}, hence so do their n-th powers, and the difference is divisible.",
    )


def _sum_formula(rng: random.Random) -> Statement:
    a, b, wrong = rng.randint(1, 5), rng.randint(1, 9), rng.choice((0, 0, 0, 1))
    sign = f"{a}n(n + 1)/2 + {b}n" + (" + (n - 1)(n - 2)" if wrong else "")

    def holds(n: int) -> bool:
        return sum(a * k + b for k in range(1, n + 1)) == a * n * (n + 1) // 2 + b * n + wrong * (n - 1) * (n - 2)

    return (
        f"the sum of {a}k + {b} over k = 1, ..., n equals {sign}",
        _first_failure(holds),
        f"By induction: for n = 1 both sides are {a + b}, and the right side grows by {a}(n + 1) + {b} from n to n + 1.",
    )


def _primes(rng: random.Random) -> Statement:
    a, c = rng.choice((1, 1, 2)), rng.choice((3, 5, 7, 11, 17, 19, 29, 41))
    name = "n^2" if a == 1 else f"{a}n^2"
    return (f"{name} + n + {c} is a prime number", _first_failure(lambda n: _prime(a * n * n + n + c)), "It has no counterexample.")


def _odd_square(rng: random.Random) -> Statement:
    factor, modulus = rng.choice((2, 4, 6)), rng.choice((4, 8, 16))
    return (
        f"({factor}n + 1)^2 - 1 is divisible by {modulus}",
        _first_failure(lambda n: ((factor * n + 1) ** 2 - 1) % modulus == 0),
        f"It equals {factor}n({factor}n + 2), whose remainder modulo {modulus} repeats with n and is always 0.",
    )


def _growth(rng: random.Random) -> Statement:
    base, power, extra = rng.choice((2, 3)), rng.choice((1, 2)), rng.randint(0, 4)
    right = ("n" if power == 1 else "n^2") + (f" + {extra}" if extra else "")
    return (
        f"{base}^n > {right}",
        _first_failure(lambda n: base**n > n**power + extra),
        f"It holds for n = 1, 2, 3, and from n to n + 1 the left side is multiplied by {base} while the right side grows by less.",
    )


def _prime(value: int) -> bool:
    return value > 1 and all(value % d for d in range(2, int(value**0.5) + 1))


_KINDS: tuple[Callable[[random.Random], Statement], ...] = (_power_minus_n, _difference, _sum_formula, _primes, _odd_square, _growth)
