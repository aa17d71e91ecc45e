"""Messages to a shop's support desk, to be sorted by what they are about."""

import random

from router.domain.battery import Case

LABELS = ("billing", "delivery", "technical", "account", "returns")

_BODIES = {
    "billing": (
        "I was charged twice for {item}.",
        "The invoice for {item} shows the wrong amount.",
        "My card was debited although I cancelled {item}.",
        "Please send me a receipt for {item} with our tax number on it.",
        "The discount code was not taken off the price of {item}.",
        "Why is there a fee on my statement after I bought {item}?",
    ),
    "delivery": (
        "{item} has not arrived, and the tracking page has not moved for days.",
        "The courier left {item} with a neighbour I do not know.",
        "Can you change the address that {item} is being shipped to?",
        "The parcel with {item} came to the wrong city.",
        "When will {item} leave your warehouse?",
        "Half of the order is here, but {item} is still on the road.",
    ),
    "technical": (
        "{item} does not switch on any more.",
        "The app crashes as soon as I connect {item}.",
        "{item} shows error code E{number} and then restarts.",
        "After the firmware update {item} no longer pairs with my phone.",
        "The display of {item} flickers when it is warm.",
        "I cannot get {item} to join the wireless network.",
    ),
    "account": (
        "I cannot log in since I changed my e-mail address.",
        "Please delete my profile and everything you store about me.",
        "The link to reset my password has expired before I could use it.",
        "Somebody else seems to be signed in under my name.",
        "How do I add a second user to our company profile?",
        "My two-factor codes are refused at sign-in.",
    ),
    "returns": (
        "I would like to send {item} back; it is unopened.",
        "How do I get a return label for {item}?",
        "{item} is the wrong size, can I swap it for a larger one?",
        "Is it too late to give {item} back after {days} days?",
        "I sent {item} back last week; has it reached your warehouse of returned goods?",
        "I changed my mind about {item} and want to return it.",
    ),
}
_ITEMS = (
    "the desk lamp", "the espresso machine", "the running shoes", "the bluetooth speaker", "the garden hose", "the keyboard", "the tent",
    "the rain jacket", "the air purifier", "the bicycle helmet", "the office chair", "the robot vacuum", "the camera tripod",
)  # fmt: skip
_OPENINGS = ("Hello,", "Hi there,", "Good morning,", "To whom it may concern:", "Dear team,", "Hey,", "")
_ASIDES = (
    "Order {order}.",
    "This is order number {order}, by the way.",
    "Everything else about order {order} was fine.",
    "I have been a customer for {years} years.",
    "Your colleague on the phone could not find order {order}.",
    "",
)
_CLOSINGS = ("Thanks!", "Kind regards, {name}", "Please answer soon.", "Best, {name}", "Thank you for your help. {name}", "")
_NAMES = ("Ana", "Bilal", "Chen", "Dora", "Emeka", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kavya", "Leila")


def make(rng: random.Random, count: int) -> list[Case]:
    """Cases with one label each, all labels equally often."""
    made: list[Case] = []
    seen: set[str] = set()
    while len(made) < count:
        label = LABELS[len(made) % len(LABELS)]
        facts = {
            "item": rng.choice(_ITEMS),
            "number": rng.randint(10, 99),
            "days": rng.randint(15, 60),
            "order": rng.randint(10_000, 99_999),
            "years": rng.randint(2, 12),
            "name": rng.choice(_NAMES),
        }
        parts = (rng.choice(_OPENINGS), rng.choice(_BODIES[label]), rng.choice(_ASIDES), rng.choice(_CLOSINGS))
        text = " ".join(_sentence(part.format(**facts)) for part in parts if part)
        if text in seen:
            continue
        seen.add(text)
        prompt = (
            f"Sort this message to a shop's support desk. Answer with one word out of: {', '.join(LABELS)}.\n\nMessage: {text}\n\nLabel:"
        )
        wrong = rng.choice([other for other in LABELS if other != label])
        made.append(Case(f"ticket-{len(made) + 1:04}", prompt, label, wrong, expect={"labels": LABELS, "expected": (label,)}))
    return made


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
