"""Published ratings are found by name, whoever hosts the model."""

import pytest

from learning.facts import ArmFacts
from learning.learner import Learner
from learning.targets import Target
from router.domain.catalog import load_shipped
from router.domain.offers import facts_of
from router.domain.published import arena_rating, canonical


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("deepinfra/meta-llama/Meta-Llama-3.1-70B-Instruct", "cerebras/llama3.1-70b"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/mixtral-8x7b-chat-v0.1"),
        ("deepinfra/meta-llama/Llama-3.3-70B-Instruct-Turbo", "Llama-3.3-70B-Instruct"),
        ("CohereForAI/c4ai-command-r-plus", "command-r+"),
        ("ollama/mistral:7b-instruct-v0.2-q4_K_M", "mistralai/Mistral-7B-Instruct-v0.2"),
        ("ollama/gemma2:9b-instruct-q8_0", "google/gemma-2-9b-it"),
        ("TheBloke/Llama-2-70B-Chat-AWQ", "llama-2-70b-chat"),
        ("RedHatAI/Meta-Llama-3.1-70B-Instruct-quantized.w4a16", "llama-3.1-70b"),
    ],
)
def test_one_model_has_one_name_at_every_host(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


def test_a_version_that_was_not_rated_takes_the_mean_of_those_that_were() -> None:
    assert arena_rating("gpt-4-turbo") == arena_rating("gpt-4-turbo-2024-04-09") == 1274.0
    assert arena_rating("mistral-large") == pytest.approx((1269 + 1268 + 1181) / 3)
    assert arena_rating("gpt-3.5-turbo") < arena_rating("gpt-4") < arena_rating("gpt-4.1")


def test_different_models_are_not_taken_for_versions_of_each_other() -> None:
    assert arena_rating("deepseek-v2.5") != arena_rating("deepseek-v3")
    assert arena_rating("gpt-4-turbo") != arena_rating("gpt-3.5-turbo")
    assert arena_rating("nobody/heard-of-it") is None


def test_the_catalogue_tells_the_learner_what_was_published() -> None:
    facts = facts_of(load_shipped().active)
    rated = [model for model, known in facts.items() if known.rating is not None]
    assert len(rated) >= 20
    learner = Learner()
    learner.register({"a": ArmFacts(1.0, rating=1450.0), "b": ArmFacts(1.0, rating=1050.0), "c": ArmFacts(1.0)})
    posterior = learner.posterior()
    level = dict(zip(posterior.models, posterior.targets[Target.QUALITY].coefficients[:, 0], strict=True))
    assert level["a"] > level["c"] > level["b"]


def test_the_same_weights_are_told_at_every_host() -> None:
    facts = facts_of(load_shipped().active)
    hosts: dict[str | None, set[str | None]] = {}
    for known in facts.values():
        hosts.setdefault(known.weights, set()).add(known.host)
    assert hosts["llama-3-1-70b"] == {"cerebras", "deepinfra"}
    assert {known.host for known in facts.values()} == {model.provider for model in load_shipped().active}


def test_a_dated_version_takes_the_rating_of_its_time() -> None:
    assert arena_rating("gpt-4o-2024-11-20") == arena_rating("gpt-4o-2024-08-06")
    assert arena_rating("mistral-large-2403") == arena_rating("mistral-large-2402")
    assert arena_rating("command-r-plus-09-2024") == arena_rating("command-r-plus-08-2024")
    assert arena_rating("mistral-small-2402") is None, "the only rated one of that name came sixteen months later"
    assert arena_rating("gpt-4-0314") != arena_rating("gpt-4-0613"), "a month and a day are no year and month"
