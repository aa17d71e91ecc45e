"""The fast estimate of tokens against counts of tiktoken's cl100k_base, recorded here; ``python -m benchmarks.tokens`` measures more."""

from router.domain.classify import estimate_tokens

TABLE: tuple[tuple[str, int], ...] = (
    ("Summarise the attached minutes in five sentences and name who has to do what by when.", 19),
    ("Write a Python function that merges two sorted lists without using sort, and explain its complexity.", 18),
    ("def merge(a, b):\n    out = []\n    while a and b:\n        out.append(a.pop(0) if a[0] < b[0] else b.pop(0))\n    return out + a + b\n", 48),  # noqa: E501 - one text, one line
    ("SELECT c.name, SUM(o.total) AS spent FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.at >= '2026-01-01' GROUP BY c.name ORDER BY spent DESC LIMIT 10;", 47),  # noqa: E501 - one text, one line
    ("{\"id\": 17, \"name\": \"Ada\", \"tags\": [\"a\", \"b\"], \"price\": 12.50, \"active\": true, \"parent\": null}", 39),
    ("A train leaves at 9:15 and travels 80 km per hour for 3.5 hours. How many kilometres does it cover in total? Show every step.", 35),
    ("Prove that for every natural number n, the sum 1 + 2 + ... + n equals n(n+1)/2.", 28),
    ("The quarterly report shows that revenue rose by 12.4 % to 3.81 million euros while costs fell by 2 %, mostly because of lower energy prices.", 35),  # noqa: E501 - one text, one line
    ("Fasse den folgenden Text in drei Sätzen zusammen und nenne die wichtigsten Entscheidungen der Sitzung.", 26),
    ("Résumez le texte suivant en trois phrases et indiquez les décisions les plus importantes de la réunion.", 25),
    ("Resume el siguiente texto en tres frases e indica las decisiones más importantes de la reunión.", 20),
    ("Перескажи следующий текст в трёх предложениях и назови самые важные решения.", 31),
    ("请用三句话总结以下文本，并指出会议中最重要的决定。", 25),
    ("次の文章を三つの文で要約し、会議で決まった最も重要なことを挙げてください。", 38),
    ("<div class=\"card\"><h2>Title</h2><p>Some text with <a href=\"https://example.com/a?b=1\">a link</a>.</p></div>", 40),
    ("Traceback (most recent call last):\n  File \"app.py\", line 42, in main\n    run(config)\nKeyError: 'database_url'", 32),
    ("You are a careful assistant. Answer only from the documents given. Where they do not say, say that they do not say.", 26),
    ("Translate into Italian: The meeting has been moved to Thursday at ten because two of the speakers are ill.", 21),
    ("| model | quality | cost |\n|---|---:|---:|\n| small | 0.71 | 0.0004 |\n| large | 0.88 | 0.0120 |\n", 44),
    ("Once upon a time there was a lighthouse keeper who was afraid of the dark. Every evening, before he lit the lamp, he closed his eyes and counted to ten.", 35),  # noqa: E501 - one text, one line
    ("const total = items.filter(x => x.price > 0).reduce((sum, x) => sum + x.price * x.count, 0);", 31),
    ("int main(void) {\n    for (int i = 0; i < 10; i++) {\n        printf(\"%d\\n\", i * i);\n    }\n    return 0;\n}\n", 40),
    ("Which of these statements is false? (a) All squares are rectangles. (b) Some rectangles are squares. (c) No rectangle is a square.", 32),  # noqa: E501 - one text, one line
    ("2026-11-23T07:34:14Z ERROR service.not_started reason=\"port 8080 is in use\" remedy=\"choose another with --port\"", 35),
)  # fmt: skip
"""Texts as prompts are, and how many tokens they have."""


def errors(rows: tuple[tuple[str, int], ...]) -> list[float]:
    return sorted(abs(estimate_tokens(text) / tokens - 1) for text, tokens in rows)


def test_half_of_the_estimates_are_close_and_nine_in_ten_are_usable() -> None:
    found = errors(TABLE)
    assert found[len(found) // 2] <= 0.1
    assert found[int(0.9 * (len(found) - 1))] <= 0.25


def test_indented_code_is_not_counted_by_its_blanks() -> None:
    plain = "if ready:\n\tstart()\n\treturn 1\n" * 20
    assert estimate_tokens(plain.replace("\t", " " * 12)) < 1.6 * estimate_tokens(plain)
