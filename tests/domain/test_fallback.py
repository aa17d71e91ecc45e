"""Who answers where no model is eligible: never one that the request's own lists forbid."""

import pytest

from router.domain.calling import Calling
from router.domain.catalog import Catalog
from router.domain.fallback import fallback_model
from router.domain.models import Model, Price
from router.domain.tasks import Constraints, Task
from router.errors import AllModelsBusy, NoEligibleModel, ProviderUnavailable


def model(model_id: str, usd: float) -> Model:
    provider, _, name = model_id.partition("/")
    return Model(model_id, provider, name, "family", 8_192, price=Price(usd, usd))


CATALOG = Catalog((model("acme/dear", 9.0), model("acme/mid", 3.0), model("other/cheap", 1.0)))
ANY = Constraints()
ACME = Constraints(providers=frozenset({"acme"}))


def fallen(limits: Constraints = ANY, configured: str | None = None, calling: Calling | None = None, **unavailable: str) -> str:
    absent = {one.id: remedy for one in CATALOG.models for provider, remedy in unavailable.items() if one.provider == provider}
    return fallback_model(Task("quick_qa", 50_000, constraints=limits), (), calling, CATALOG, absent, configured).id


@pytest.mark.parametrize(
    ("limits", "configured", "expected"),
    [
        (ANY, None, "other/cheap"),
        (ANY, "acme/dear", "acme/dear"),
        (Constraints(max_cost_usd=0.0, max_latency_s=0.1), None, "other/cheap"),
        (ACME, None, "acme/mid"),
        (ACME, "other/cheap", "acme/mid"),
        (Constraints(models=frozenset({"acme/dear"})), "acme/mid", "acme/dear"),
        (Constraints(exclude=frozenset({"other/cheap"})), "other/cheap", "acme/mid"),
        (Constraints(providers=frozenset({"acme"}), exclude=frozenset({"acme/mid"})), None, "acme/dear"),
    ],
)
def test_the_lists_of_the_request_hold_for_the_fallback_too(limits: Constraints, configured: str | None, expected: str) -> None:
    assert fallen(limits, configured) == expected
    assert fallen(limits, configured, Calling({})) == expected


@pytest.mark.parametrize(
    "limits", [Constraints(models=frozenset({"acme/none"})), Constraints(models=frozenset({"acme/mid"}), exclude=frozenset({"acme/mid"}))]
)
def test_lists_that_allow_nobody_are_an_error(limits: Constraints) -> None:
    for calling in (None, Calling({})):
        with pytest.raises(NoEligibleModel, match="nor may a fallback answer") as refused:
            fallen(limits, calling=calling)
        assert refused.value.remedy


def test_who_may_answer_and_cannot_be_called_is_said() -> None:
    with pytest.raises(ProviderUnavailable, match="that the request allows") as refused:
        fallen(ACME, calling=Calling({}), acme="set ACME_API_KEY")
    assert refused.value.remedy == "set ACME_API_KEY"
    with pytest.raises(AllModelsBusy) as busy:
        fallen(ACME, calling=Calling({"acme/mid": 9.0, "acme/dear": 4.0}))
    assert busy.value.retry_after_s == 4.0
    assert fallen(ACME, calling=Calling({"acme/mid": 9.0})) == "acme/dear"
