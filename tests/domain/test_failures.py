"""What a failed call cost: as counted, nothing where it was refused, and unknown otherwise."""

from dataclasses import replace
from typing import Any

import pytest

from router.domain.events import Attempt, AttemptEvent, DecisionRecord, Outcome, OutcomeEvent, Status
from router.domain.failures import spent_on
from router.domain.recall import result_of
from router.domain.spending import Bills
from tests.storage.conftest import Records

FAILED = Attempt("d1", 1, "b/two", Status.ERROR, 0.0)


@pytest.mark.parametrize(
    ("known", "usd"),
    [
        ({"error": "RateLimited", "http_status": 429}, 0.0),
        ({"error": "AdapterUnavailable"}, 0.0),
        ({"error": "ProviderDown", "http_status": 503}, 0.0),
        ({"error": "ProviderTimeout", "http_status": 408}, 0.0),
        ({"error": "ProviderDown"}, None),
        ({"error": "ProviderTimeout"}, None),
        ({"error": "MalformedResponse", "http_status": 200}, None),
        ({"error": "ContentRefused"}, None),
        ({"error": "ContentRefused", "output_tokens": 0, "cost_usd": 0.01}, 0.01),
        ({"error": "ProviderDown", "output_tokens": 12, "cost_usd": 0.02}, 0.02),
        ({"error": "ProviderDown", "http_status": 500, "output_tokens": 12}, None),  # it came, and has no price
        ({"status": Status.CANCELLED}, None),
        ({"status": Status.OK}, None),
        ({"status": Status.OK, "cost_usd": 0.5}, 0.5),
    ],
)
def test_unknown_stays_unknown_and_refused_is_free(known: dict[str, Any], usd: float | None) -> None:
    assert spent_on(replace(FAILED, **known)) == usd


def result(last: Attempt, outcome_usd: float | None, *before: Attempt) -> float | None:
    outcome = Outcome("d1", last.status, 1.0, cost_usd=outcome_usd)
    return result_of(DecisionRecord(1, Records.decision(), outcome, (), (*before, last))).cost_usd


def test_a_request_costs_what_all_its_calls_did() -> None:
    refused = replace(FAILED, last=False, error="RateLimited", http_status=429)
    cut = replace(FAILED, last=False, error="ProviderDown", output_tokens=9, cost_usd=0.25)
    answered = replace(FAILED, status=Status.OK, cost_usd=0.5)
    assert result(answered, 0.5) == 0.5
    assert result(answered, 0.5, refused) == 0.5
    assert result(answered, 0.5, refused, cut) == 0.75
    assert result(answered, 0.5, replace(FAILED, last=False, error="ProviderTimeout")) is None
    assert result(replace(refused, last=True), None, cut) == 0.25
    assert result(replace(FAILED, error="ProviderTimeout"), None, cut) is None


def test_a_pacer_hears_once_of_a_request_with_all_its_calls() -> None:
    bills = Bills()

    def called(seq: int, **known: Any) -> float | None:
        return bills.called(AttemptEvent(seq, 1, replace(FAILED, **known)))

    def ended(decision: int, usd: float | None) -> float | None:
        return bills.ended(OutcomeEvent(9, decision, "t", "b/two", 1, b"", Outcome("d", Status.OK, 0.0, cost_usd=usd)))

    assert called(2, last=False, cost_usd=0.25) == 0.25
    assert called(3, last=False) is None
    assert called(4, last=False, cost_usd=0.125) == 0.125
    assert called(5, last=True, cost_usd=1.0) is None, "the outcome tells"
    assert ended(1, 1.0) == 1.375
    assert ended(1, 1.0) == 1.0
    assert ended(2, None) is None
    assert called(6, last=False, cost_usd=0.25) == 0.25
    assert ended(1, None) == 0.25
