"""From catalogue facts to what the learner reads: prices per token, and what is published about a model before it is tried."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from learning.choice import Offers
from learning.facts import ArmFacts
from learning.features import TYPICAL_OUTPUT_TOKENS
from learning.posterior import Posterior
from router.domain.models import Model
from router.domain.prices import token_rates
from router.domain.published import arena_rating, canonical

_PER_TOKEN = 1e-6


def facts_of(models: Iterable[Model]) -> dict[str, ArmFacts]:
    """Prior-shaping facts by model id."""
    return {
        model.id: ArmFacts(
            price_usd_per_mtok=None if (rates := token_rates(model.price)) is None else sum(rates) / 2,
            typical_latency_s=None if model.speed is None else model.speed.ttft_s + TYPICAL_OUTPUT_TOKENS / model.speed.output_tokens_per_s,
            rating=arena_rating(model.id),
            weights=canonical(model.id),
            host=model.provider,
        )
        for model in models
    }


def offers_of(models: Sequence[Model], posterior: Posterior) -> Offers:
    """The models as the learner sees them; each must be known to the posterior."""
    rates = [token_rates(model.price) or (math.nan, math.nan) for model in models]
    return Offers(
        models=tuple(model.id for model in models),
        index=np.array([posterior.model_index[model.id] for model in models], dtype=np.int64),
        input_price=_PER_TOKEN * np.array([rate for rate, _ in rates]),
        output_price=_PER_TOKEN * np.array([rate for _, rate in rates]),
    )
