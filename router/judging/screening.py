"""Finds the passages of an answer that speak to whoever judges it, so that the judge need not see them.

A judge that is told not to obey an answer mostly does not; one that never reads the order cannot. The patterns name what such passages
have in common: they call the judge by name, ask for a grade, write the verdict, take back instructions, or fake the format's own marks.
"""

import re

LEFT_OUT = "[a passage that addresses the judge was left out]"

_JUDGE = r"(?:judge|grader|evaluator|rater|assessor|scorer|grading (?:system|model|bot|ai)|scoring (?:system|model|bot|ai))"
_CALLED = r"(?:judge|grader|evaluator|rater|assessor|scorer|examiner|reviewer|referee|marker|moderator|grading \w+|scoring \w+|judging \w+)"
_BEST = (
    r"(?:excellent|perfect|flawless|full (?:marks?|credit|score|points)|10 ?/ ?10|10 out of 10|100 ?/ ?100|100 ?%|five stars|a\+|1\.0"
    r"|(?:top|highest|maximum|max|best)(?: possible| available)? (?:marks?|grades?|scores?|ratings?|verdict|category))"
)
_VERDICT = r"(?:grades?|graded|scored?|scores|marks|marked|verdict|judge?ment)"
_BACK = r"(?:ignore|disregard|forget|override|bypass|set aside|cancel|discard|do not follow|stop following)"
_ORDERS = (
    r"(?:instructions?|rubrics?|prompts?|criteria|guidelines?|directions?|directives?"
    r"|rules (?:above|before)|(?:above|previous|earlier) rules)"
)
_MINE = r"(?:this|the|the first|the second|my|present) (?:answer|response|submission)"

_PATTERNS = (
    rf"\b(?:dear|hey|hello|hi|attention|note (?:to|for)|message (?:to|for)|memo to)[ ,:]+(?:\w+ ){{0,3}}{_CALLED}s?\b",
    rf"\b(?:to|as|for) (?:the|an?|any|every|my|whatever|whichever|all|whoever)(?: \w+){{0,2}} {_JUDGE}s?\b",
    rf"\b(?:you are|you're|act as|you as)\b[^.\n]{{0,40}}\b{_CALLED}",
    rf"\b{_JUDGE}s?\b[^.\n]{{0,50}}\b(?:must|should|shall|will|have to|required|please|instruct\w*|told|asked|reading|can stop)\b",
    rf"^\W{{0,8}}{_JUDGE}s?\s*[,:]",
    rf"\b{_VERDICT}\b[^.\n]{{0,50}}\b{_BEST}",
    rf"\b(?:gives?|awards?|assigns?|return|output|respond with|reply(?: with)?|print|deserves?|merits?)\b[^.\n]{{0,40}}\b{_BEST}",
    rf"\b{_BEST}\b[^.\n]{{0,30}}\b{_VERDICT}\b",
    rf"\b{_BACK}\b[^.\n]{{0,50}}\b{_ORDERS}",
    rf"\b(?:new|updated|revised|real|actual|hidden|secret|special) (?:system |grading |judging )?{_ORDERS}\b",
    r"['\"](?:grade|better)['\"]\s*:\s*['\"]",
    r"\b(?:grade|better|verdict)\s*[:=]\s*['\"]?(?:excellent|good|fair|poor|wrong|first|second|equal)\b",
    r"<\|?/?(?:im_start|im_end|system|assistant|user|eot)[^>]*>|\[/?INST\]|\[(?:system|assistant)\]|^\W{0,8}(?:system|assistant|developer)\s?:",
    r"#{1,6} {0,3}(?:system|new instructions?|instructions? (?:to|for))\b",
    r"\bend of (?:the )?(?:student's |model's )?(?:answer|submission)\b",
    r"\b(?:already|previously)(?: been)? (?:graded|scored|verified|judged|evaluated|approved)\b",
    r"\b(?:grade|score|judge|evaluate|rate|mark) (?:this|it|me|mine|the above)(?: \w+){0,3}? (?:highly|generously|leniently|kindly)\b",
    rf"\b(?:prefer|choose|pick|select|favou?r|vote for) {_MINE}\b",
    rf"\b{_MINE}\b[^.\n]{{0,40}}\b(?:{_BEST}|is better|(?:should|must) win|wins\W*$|the winner)\b",
)
_ADDRESSING = re.compile("|".join(_PATTERNS), re.IGNORECASE | re.MULTILINE)
_PIECE, _OVERLAP = 1_000, 200
"""Characters; what speaks to a judge and is longer than the overlap is found by a part of it."""
_PASSAGE = re.compile(r"[^\n.!?]*(?:[.!?](?!\s|$)[^\n.!?]*)*(?:[.!?]+|\n|$)\s*")


def addresses_judge(text: str) -> bool:
    """Whether any passage does. Looks at overlapping pieces: one long search would hold up every other thread."""
    return any(_ADDRESSING.search(text, at, at + _PIECE) is not None for at in range(0, max(len(text), 1), _PIECE - _OVERLAP))


def screened(text: str) -> tuple[str, int]:
    """The text without those passages, and how many there were."""
    if not addresses_judge(text):
        return text, 0
    found, kept = 0, [""]
    for passage in _PASSAGE.findall(text):
        if not addresses_judge(passage):
            kept.append(passage)
            continue
        found += 1
        if kept[-1] != LEFT_OUT + "\n":
            kept.append(LEFT_OUT + "\n")
    whole = "".join(kept)
    return (LEFT_OUT, found + 1) if addresses_judge(whole.replace(LEFT_OUT, "")) else (whole, max(found, 1))
