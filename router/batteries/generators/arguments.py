"""Short arguments with one flaw each, to be named."""

import random

from router.domain.battery import Case

LABELS = (
    "correlation taken for causation",
    "sample too small",
    "survivorship bias",
    "false dilemma",
    "circular reasoning",
    "attack on the person",
)

_TEMPLATES = {
    "correlation taken for causation": (
        "In the {n} districts with the most {thing}, {measure} is highest as well. So {thing} must be what raises {measure}.",
        "{measure_up} rose over the last {years} years, and so did the number of {thing}. Clearly the {thing} are behind it.",
    ),
    "sample too small": (
        "We asked {few} people about {thing}, and all of them were content. The whole country is therefore content with {thing}.",
        "{few} of our customers tried {thing} last week and {measure} went up for each. Everybody's {measure} will go up.",
    ),
    "survivorship bias": (
        "Every company that is still here after {years} years invested early in {thing}. Investing early in {thing} is thus what keeps a"
        " company alive.",
        "The oldest {thing} in our museum hardly show any wear. {thing_up} were evidently built better {years} years ago.",
    ),
    "false dilemma": (
        "Either we spend {n} million on {thing} now, or {measure} will collapse. Nobody wants that, so we must spend it.",
        "You can care about {thing} or about {measure}, not both. As you care about {measure}, you cannot want {thing}.",
    ),
    "circular reasoning": (
        "The report on {thing} can be trusted, because it says that it was made by trustworthy people, and what it says is trustworthy.",
        "{thing_up} are the best choice for {measure}, for nothing else is better for it: that is what being the best choice means.",
    ),
    "attack on the person": (
        "Dr {name} argues that {thing} do not affect {measure}. But Dr {name} was divorced {few} times, so we can drop the argument.",
        "{name} calculated that {thing} cost {n} million a year. As {name} failed an exam at school, the calculation is worthless.",
    ),
}
_THINGS = (
    "bicycle lanes",
    "street lamps",
    "wind turbines",
    "night buses",
    "school gardens",
    "public fountains",
    "tram lines",
    "allotments",
)
_MEASURES = ("house prices", "the noise level", "the number of visitors", "attendance", "the crime rate", "sales", "the birth rate")
_NAMES = ("Okafor", "Lindqvist", "Moreau", "Tanaka", "Silva", "Novak")


def make(rng: random.Random, count: int) -> list[Case]:
    """Cases with one flaw each, all flaws equally often."""
    made: list[Case] = []
    seen: set[str] = set()
    while len(made) < count:
        label = LABELS[len(made) % len(LABELS)]
        thing, measure = rng.choice(_THINGS), rng.choice(_MEASURES)
        text = rng.choice(_TEMPLATES[label]).format(
            thing=thing,
            thing_up=thing.capitalize(),
            measure=measure,
            measure_up=measure.capitalize(),
            n=rng.randint(3, 40),
            few=rng.randint(2, 5),
            years=rng.randint(6, 80),
            name=rng.choice(_NAMES),
        )
        if text in seen:
            continue
        seen.add(text)
        prompt = (
            "One flaw spoils the following argument. First explain in one or two sentences what does not follow. Then name the flaw on a"
            f" last line of its own, written as 'Flaw: ...' with one of these names: {'; '.join(LABELS)}.\n\nArgument: {text}"
        )
        wrong = rng.choice([other for other in LABELS if other != label])
        made.append(
            Case(
                f"argument-{len(made) + 1:03}",
                prompt,
                f"The conclusion does not follow from what is said about {thing} and {measure}.\nFlaw: {label}",
                f"The argument about {thing} is only loosely worded.\nFlaw: {wrong}",
                expect={"labels": LABELS, "expected": (label,)},
            )
        )
    return made
