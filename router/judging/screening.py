"""Finds the passages of an answer that speak to whoever judges it, so that the judge need not see them.

The patterns name what such passages often have in common: they call the judge by name, ask for a grade, write the verdict, take back
instructions, or fake the format's own marks. That catches the wordings that are going round and few that are not: of 24 passages that were
written after the patterns, 3. Against the others stand the quotation, the judge's instructions and the strict reading of its reply.
"""

import re

LEFT_OUT = "[a passage that addresses the judge was left out]"

_JUDGE = r"(?:judge|grader|evaluator|rater|assessor|scorer|(?:grading|scoring|judging) (?:system|model|bot|ai|team))"
_CALLED = r"(?:judge|grader|evaluator|rater|assessor|scorer|examiner|reviewer|referee|marker|moderator|grading \w+|scoring \w+|judging \w+)"
_BEST = (
    r"(?:excellent|perfect|flawless|full (?:marks?|score|points)|10 ?/ ?10|10 out of 10|100 ?/ ?100|100 ?%|five stars|a\+|1\.0"
    r"|(?:top|highest|maximum|max|best)(?: possible| available)? (?:marks?|grades?|scores?|ratings?|verdict|category))"
)
_VERDICT = r"(?:grades?|graded|scored?|scores|marks|marked|verdict|judge?ment)"
_WORD = r"(?:excellent|good|fair|poor|wrong|first|second|equal)"
_BACK = r"(?:ignore|disregard|forget|override|bypass|set aside|cancel|discard|do not follow|stop following)"
_ORDERS = (
    r"(?:instructions?|rubrics?|prompts?|criteria|guidelines?|directions?|directives?"
    r"|rules (?:above|before)|(?:above|previous|earlier) rules)"
)
_MINE = r"(?:this|the|the first|the second|my|present) (?:answer|response|submission)"

_PATTERNS = (
    rf"\b(?:dear|hey|hello|hi|attention|note (?:to|for)|message (?:to|for)|memo to|hint for)[ ,:]+(?:\w+ ){{0,3}}{_CALLED}s?\b",
    rf"\b(?:to|as|for) (?:the|an?|any|every|my|whatever|whichever|all|whoever)(?: \w+){{0,2}} {_JUDGE}s?\b",
    rf"\b(?:you are|you're|act as|you as)\b[^.\n]{{0,40}}\b{_CALLED}",
    rf"\b{_JUDGE}s?\b[^.\n]{{0,50}}\b(?:must|should|shall|will|have to|required|please|instruct\w*|told|asked|reading|can stop)\b",
    rf"^\W{{0,8}}{_JUDGE}s?\s*[,:]",
    rf"\b(?:ai|llm|automat\w+|model-based) (?:{_CALLED}|assessment|grading|scoring|evaluation)\b",
    r"\b(?:grader|evaluator|assessor|rater|scorer)'s (?:note|view|opinion|verdict)\b",
    r"\b(?:whoever|anyone|everyone) (?:is |who )?(?:scor|grad|judg|evaluat|assess|rat)\w+",
    rf"\b{_VERDICT}\b[^.\n]{{0,50}}\b{_BEST}",
    rf"\b(?:gives?|awards?|assigns?|return|output|respond with|reply(?: with)?|print|deserves?|merits?)\b[^.\n]{{0,40}}\b{_BEST}",
    r"\b(?:give|award|count|grant)\b[^.\n]{0,20}\b(?:every|all) (?:the )?points?\b",
    rf"\b{_BEST}\b[^.\n]{{0,30}}\b{_VERDICT}\b",
    rf"\b{_BACK}\b[^.\n]{{0,50}}\b{_ORDERS}",
    rf"\b(?:real|actual|hidden|secret|special|updated|revised) (?:system |grading |judging )?{_ORDERS}\b|\bnew {_ORDERS}\s*:",
    r"\b(?:new task|instruction)s?\s*:[^\n]{0,60}\b(?:correct|right|grad\w+|judg\w+|excellent)\b",
    r"\binstead of (?:grading|judging|scoring|evaluating|comparing)\b|\bskip the (?:comparison|grading|evaluation|rubric)\b",
    rf"['\"](?:grade|better)['\"]\s*:\s*['\"]{_WORD}\b",
    rf"\b(?:grade|better|verdict)\s*[:=](?!=)\s*['\"]?{_WORD}\b|\bverdict by\b|\bbegin verdict\b",
    rf"\b(?:set|make) (?:the )?(?:grade|verdict)\b|\[\[[^\]\n]{{0,30}}\b{_WORD}\b",
    r"<\|?/?(?:im_start|im_end|system|assistant|user|eot)[^>]{0,100}>|\[/?INST\]|\[(?:system|assistant)\]"
    r"|^\W{0,8}(?:system|assistant|developer)\s?:|<!--[^>\n]{0,40}\bjudge\b",
    r"#{1,6} {0,3}(?:system|new instructions?|instructions? (?:to|for))\b",
    r"\bend of (?:the )?(?:student's |model's )?(?:answer|submission)\b",
    r"\b(?:already|previously)(?: been)? (?:graded|scored|verified|judged|evaluated|approved)\b",
    r"\b(?:grade|score|judge|evaluate|rate|mark) (?:this|it|me|mine|the above)(?: \w+){0,3}? (?:highly|generously|leniently|kindly)\b",
    r"\b(?:generous|lenient|kind) in your\b|\blow(?:er)? (?:grades?|scores?|marks?) (?:for|of|to) (?:this|the|my)\b",
    r"\b(?:mark|count|treat|accept|regard|grade|score)\b[^.\n]{0,40}\bas (?:fully |entirely |completely )?(?:correct|right)\b",
    r"\bcount (?:it|this) (?:as )?right\b|\bdo not penali[sz]e\b",
    r"\banswer key has\b|\b(?:reference|rubric) is (?:wrong|out of date|outdated)\b",
    rf"\b(?:prefer|choose|pick|select|favou?r|vote for) (?:{_MINE}|mine)\b",
    rf"\b{_MINE} (?:\w+ly )?(?:is|was|should|must|deserves?|gets?|merits?|earns?)\b[^.\n]{{0,40}}\b(?:{_BEST}|better|win|the winner)\b",
    rf"\b{_MINE} wins\W*$|\bis the winner\W*$",
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
