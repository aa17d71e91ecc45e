"""The generators by name."""

import random
from collections.abc import Callable, Mapping

from router.batteries.generators import arguments, functions, handlers, pictures, poems, proofs, sums, tickets
from router.domain.battery import Case

Generator = Callable[[random.Random, int], list[Case]]
"""Makes that many cases; the same for the same seed. Every case has a right and a wrong answer."""

GENERATORS: Mapping[str, Generator] = {
    "tickets": tickets.make,
    "handlers": handlers.make,
    "functions": functions.make,
    "sums": sums.make,
    "proofs": proofs.make,
    "poems": poems.make,
    "arguments": arguments.make,
    "pictures": pictures.make,
}
