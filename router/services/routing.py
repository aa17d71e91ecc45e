"""Takes a task to a decision: features, limits, posteriors, utility, propensities, draw, log."""

import hashlib
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.choice import Choice, Estimates, Preference, Restraint, Safeguard, choose, given_up, output_tokens, tighter
from learning.errors import LearningError
from learning.features import SCHEMA_VERSION, to_bytes
from learning.policies import POLICIES, Beliefs, Policy, make
from learning.policies.fixed import Fixed
from learning.policies.greedy import Greedy
from learning.posterior import Posterior
from learning.propensities import SCALE, uniform_draw
from router.domain.asked import asked
from router.domain.calling import Calling
from router.domain.catalog import Catalog
from router.domain.decisions import Decision, Drawn, Exclusion, unlogged
from router.domain.episodes import Kept, keep
from router.domain.events import Committed, Write
from router.domain.explanation import Weighed, alternatives, expected, reason_of, weighed
from router.domain.fallback import fallback_model, tally
from router.domain.holdback import BASELINE, arm_of
from router.domain.orchestration import Outlook
from router.domain.pins import Pin
from router.domain.routing_rules import RoutingRules
from router.domain.spending import DayStanding, Exhausted
from router.domain.tasks import Task, Weights
from router.errors import BudgetExhausted, ConfigurationInvalid, NoEligibleModel, TaskInvalid
from router.services.standing import Money, Standing, Standings

_GREEDY = Greedy()
_CERTAIN = np.array([SCALE])
"""The weights of the only model."""


class Purse(Protocol):
    """The day's money."""

    def spent(self) -> DayStanding | None:
        """How the day stands where its money is spent, else None."""
        ...


class Allowance(Protocol):
    """What decisions may give up together for the sake of learning."""

    def limits(self) -> Restraint:
        """What the next one may."""
        ...

    def used(self, quality: float, usd: float) -> None:
        """Take note of what one gave up, in expected points of quality and dollars."""
        ...


class LogWriter(Protocol):
    """Writes one record and returns when it is durable."""

    async def write(self, record: Write) -> Committed: ...


@dataclass(frozen=True, slots=True)
class Considered:
    """What a decision would be drawn from; the arrays are in the order of ``models``."""

    models: tuple[str, ...]
    propensities: FloatArray
    estimates: Estimates
    about: Beliefs
    excluded: tuple[Exclusion, ...]
    preference: Preference


class RoutingService:
    """Decides. The learned state and the catalogue are immutable values that others swap."""

    def __init__(
        self,
        writer: LogWriter,
        rules: RoutingRules,
        *,
        posterior: Callable[[], Posterior],
        clock: Callable[[], float],
        new_id: Callable[[str], str],
        draw: Callable[[str], int] | None = None,
        money: Money | None = None,
        purse: Purse | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        """``draw``: 24 bits for a decision's id; those of the salt unless given. ``money`` keeps a budget, ``purse`` a day's, ``allowance``
        that for exploring.
        """
        self._writer = writer
        self._rules = rules
        self._posterior = posterior
        self._clock = clock
        self._new_id = new_id
        self._draw = draw or (lambda decision_id: uniform_draw(rules.salt, decision_id))
        self._purse = purse
        self._allowance = allowance
        limits = rules.exploration_quality, rules.exploration_usd
        self.pins = rules.pins
        """By task type: whom to call instead of drawing."""
        self._restraint = None if limits == (None, None) else Restraint(*limits)
        self._safe = None if rules.safe_model is None else Safeguard(rules.safe_model, rules.safe_shortfall)
        self._policies: dict[str, Policy] = {}
        try:
            self._policies[rules.policy] = make(rules.policy, **rules.policy_parameters)
        except LearningError as exc:
            raise ConfigurationInvalid(str(exc), field="policy", remedy="correct policy or policy_parameters") from exc
        self._standings = Standings(rules, money)
        self.policy_version = _short_hash(rules.told())

    def use_catalog(self, catalog: Catalog) -> None:
        """Route by this catalogue from now on."""
        self._standings.use_catalog(catalog)

    def use_unavailable(self, unavailable: Mapping[str, str]) -> None:
        """Call none of these models; each comes with the remedy."""
        self._standings.use_unavailable(unavailable)

    def use_budgets(self, money: Money | None, purse: Purse | None, allowance: Allowance | None) -> None:
        """Keep to these limits from now on."""
        self._standings.money, self._purse, self._allowance = money, purse, allowance

    def use_pins(self, pins: Mapping[str, Pin]) -> None:
        """Call whom these say, by task type, from now on."""
        self.pins = pins

    async def route(self, task: Task) -> Decision:
        """Decide, and return when the decision is durable.

        Raises ``NoEligibleModel``, ``TaskInvalid``, ``BudgetExhausted``, ``Overloaded``, ``StorageUnavailable``.
        """
        decision = self.decide(task)
        committed = await self._writer.write(decision)
        return decision if committed.logged else unlogged(decision)

    def decide(self, task: Task, calling: Calling | None = None) -> Decision:
        """Decide without logging; with ``calling`` only among models that can be called now. Raises as ``draw`` does."""
        return self.draw(task, calling).described()

    def draw(self, task: Task, calling: Calling | None = None, *, explained: bool = True) -> Drawn:
        """Decide, and leave describing it for later. ``explained``: with its alternatives.

        Raises ``NoEligibleModel`` where nothing is eligible and the task forbids the fallback, ``TaskInvalid`` naming the field,
        ``BudgetExhausted`` where the day's money is spent and the operator wants a stop then; with ``calling`` also ``ModelNotFound``,
        ``ProviderUnavailable``, ``AllModelsBusy``.
        """
        spent = self._spent()
        posterior = self._posterior()
        policy = self._policy(task)
        named = calling.model if calling is not None else None
        standing = self._standings.of(task, posterior, calling, deciding=True)
        models = tuple(standing.offers.models)
        if not models:
            fallen = self._fall_back(task, standing, posterior, calling)
            return Drawn(fallen.model, lambda: fallen)
        decision_id, taken = self._new_id("dec"), self._taken(task, standing, posterior)
        free = named is None and spent is None
        rule = self.pins.get(task.task_type) if free else None
        pin = None if rule is None else rule.choice(task.task_type, models)
        arm = arm_of(task, decision_id, self._rules.holdback_share) if free and pin is None else None
        u, kept, name, forced, reason = 0, None, policy.name, True, ""
        told: dict[str, Any] = {} if arm is None else {"arm": arm, "held_back": self._rules.holdback_share}
        if named is not None:
            index, propensities, name = 0, np.ones(1), "named"
            reason = "the request names this model"
        elif spent is not None:
            index, name = int(_by_cost(standing.about, standing.estimates)[0]), "budget"
            propensities, reason = np.eye(len(models))[index], "the day's budget is spent: the lowest expected cost decides"
        elif pin is not None:
            index, propensities, name = pin[0], np.eye(len(models))[pin[0]], "pinned"
            reason = pin[1]
        elif arm == BASELINE:
            index, name = Fixed(self._rules.baseline_model or "").choice(standing.about), "holdback"
            propensities = np.eye(len(models))[index]
            reason = f"held back: {self._rules.holdback_share:.0%} of the traffic goes to the baseline, to measure what routing gains"
        elif (kept := self._kept(task, standing, calling)) is not None:
            index, propensities, name = kept.index, np.eye(len(models))[kept.index], "episode"
            reason, told = kept.reason, told | {"kept": kept.told}
        else:
            u = self._draw(decision_id)
            choice, allowed = self._draw_one(policy, standing, u)
            told |= allowed
            index, propensities, forced = choice.index, choice.propensities, False

        def described() -> Decision:
            about, estimates = standing.about, standing.estimates
            best = about.probability_best
            return Decision(
                **taken,
                id=decision_id,
                features=standing.logged(index),
                request=asked(task, u, self._rules) | standing.paced | told,
                eligible=models,
                propensities=tuple(propensities.tolist()),
                model=models[index],
                propensity=float(propensities[index]),
                confidence=float(best[index]),
                reason=reason or reason_of(index, about, estimates, standing.relaxed),
                policy=name,
                forced=forced,
                alternatives=alternatives(index, about, estimates, standing.preference, propensities, best) if explained else (),
                expected=expected(estimates, index),
            )

        return Drawn(models[index], described)

    def _draw_one(self, policy: Policy, standing: Standing, u: int) -> tuple[Choice, dict[str, Any]]:
        """A draw, and what the log keeps of the allowance it was made under."""
        limits = None if self._allowance is None else self._allowance.limits()
        told = {} if limits is None else {"allowed": [limits.quality, limits.usd]}
        if len(standing.offers.models) == 1:  # whatever is expected of it: that can wait until the call has left
            return Choice(0, _CERTAIN), told
        about, estimates = standing.about, standing.estimates
        choice = choose(policy, about, u, estimates, tighter(self._restraint, limits), self._safe)
        if self._allowance is not None:
            self._allowance.used(*given_up(choice.propensities, about, estimates))
        return choice, told

    def _spent(self) -> DayStanding | None:
        """How the day stands where its money is spent and something is decided all the same; None while there is money.

        Raises ``BudgetExhausted``.
        """
        standing = self._purse.spent() if self._purse is not None else None
        if standing is not None and standing.exhausted is Exhausted.REFUSE:
            raise BudgetExhausted(
                "the day's budget is spent",
                field="budget_usd_per_day",
                remedy="wait for the next day (UTC), raise the budget (PATCH /v1/budgets), or set BUDGET_EXHAUSTED=cheapest",
                retry_after_s=max(1.0, standing.ends_at - self._clock()),
            )
        return standing

    def consider(self, task: Task, calling: Calling) -> Considered | None:
        """What is expected of each eligible model, and with which probability it would be drawn; None where none is eligible."""
        standing = self._standings.of(task, self._posterior(), replace(calling, model=None))
        if not len(standing.offers.models):
            return None
        propensities = choose(self._policy(task), standing.about, 0, standing.estimates, self._restraint, self._safe).propensities
        about = standing.about
        return Considered(tuple(about.models), propensities, standing.estimates, about, standing.excluded, standing.preference)

    def weigh(self, task: Task, calling: Calling) -> tuple[Weighed, ...]:
        """What is expected of each eligible model, or of the one that the request names; empty where none is eligible."""
        standing = self._standings.of(task, self._posterior(), calling)
        return weighed(standing.about, standing.estimates) if len(standing.offers.models) else ()

    def next_best(self, task: Task, calling: Calling, tried: Collection[str]) -> str | None:
        """The eligible model with the best expected utility that was not tried and can be called now; None where there is none.

        Where rules are pinned for the task type, their models come first, in their order; where the day's money is spent, the cheapest.
        """
        standing = self._standings.of(task, self._posterior(), replace(calling, model=None))
        models = standing.offers.models
        spent = self._purse is not None and self._purse.spent() is not None
        order = _by_cost(standing.about, standing.estimates) if spent else np.argsort(-standing.about.mean, kind="stable")
        pin = None if spent else self.pins.get(task.task_type)
        first = [model for model in pin.models if model in models] if pin is not None else []
        return next((model for model in (*first, *(models[i] for i in order.tolist())) if model not in tried), None)

    def cost_at_most(self, task: Task, model_id: str) -> float | None:
        """USD, one-sided 95 % of a call; None where nobody knows."""
        return self._standings.cost_at_most(task, self._posterior(), model_id)

    def outlook(self, task: Task) -> Outlook:
        """The models that may do a task, and what is expected of each."""
        posterior = self._posterior()
        standing = self._standings.of(task, posterior, None)
        limit = math.inf if task.max_output_tokens is None else task.max_output_tokens
        tokens = np.minimum(output_tokens(posterior, standing.offers, task.task_type, standing.features), limit)
        return Outlook(
            models=tuple(standing.offers.models),
            estimates=standing.estimates,
            about=standing.about,
            output_tokens=tuple(tokens.tolist()),
            scores=tuple(posterior.scores(posterior.task(task.task_type))[standing.offers.index].tolist()),
            excluded=standing.excluded,
            relaxed=standing.relaxed,
            seq=posterior.seq,
        )

    def planned(self, task: Task, model_id: str, count: int, reason: str) -> list[Decision]:
        """Decisions, one for each of ``count`` agents with this task, for the model that a plan gives them: forced, not drawn.

        Raises ``NoEligibleModel`` where the model may no longer do it, ``BudgetExhausted``.
        """
        self._spent()
        posterior = self._posterior()
        standing = self._standings.of(task, posterior, None)
        about = standing.about
        if model_id not in about.models:
            remedy = "send the plan's request again"
            raise NoEligibleModel("a model of the plan is no longer eligible", field="agents", remedy=remedy)
        index = about.models.index(model_id)
        one = Decision(
            **self._taken(task, standing, posterior),
            id="",
            features=standing.logged(index),
            request=asked(task, 0, self._rules),
            eligible=tuple(about.models),
            propensities=tuple(np.eye(len(about.models))[index].tolist()),
            model=model_id,
            propensity=1.0,
            confidence=float(about.probability_best[index]),
            reason=reason,
            policy="plan",
            forced=True,
            expected=expected(standing.estimates, index),
        )
        return [replace(one, id=self._new_id("dec")) for _ in range(count)]

    def _taken(self, task: Task, standing: Standing, posterior: Posterior) -> dict[str, Any]:
        """What every decision about a task says of it, of now, and of what it is taken by."""
        return {
            "at": self._clock(),
            "task_type": task.task_type,
            "features_schema": SCHEMA_VERSION,
            "policy_version": self.policy_version,
            "policy_seq": posterior.seq,
            "catalog_version": self._standings.catalog.version,
            "episode_id": task.episode_id,
            "tags": task.tags,
            "excluded": standing.excluded,
        }

    def _kept(self, task: Task, standing: Standing, calling: Calling | None) -> Kept | None:
        if calling is None or calling.last is None or calling.last.model not in standing.offers.models:
            return None
        price = self._standings.catalog.get(calling.last.model).price
        return keep(calling.last, standing.about, price, task.context_tokens, standing.preference, self._clock())

    def _policy(self, task: Task) -> Policy:
        if not task.explore:
            return _GREEDY
        name = task.policy or self._rules.policy
        policy = self._policies.get(name)
        if policy is None:
            if name not in POLICIES:
                raise TaskInvalid("no policy has that name", field="policy", remedy=f"choose one of {', '.join(POLICIES)}")
            try:
                policy = self._policies[name] = make(name)
            except LearningError as exc:
                raise TaskInvalid(
                    "this policy needs parameters that only the settings can give",
                    field="policy",
                    remedy="start the service with it, or name another policy",
                ) from exc
        return policy

    def preference(self, weights: Weights) -> Preference:
        """A request's weights in the learner's units."""
        return self._standings.preference(weights)

    def _fall_back(self, task: Task, standing: Standing, posterior: Posterior, calling: Calling | None) -> Decision:
        """Answer with the fallback model: a forced decision, outside every propensity-weighted estimate."""
        standings, excluded = self._standings, standing.excluded
        model = fallback_model(task, excluded, calling, standings.catalog, standings.unavailable, self._rules.fallback_model)
        taken = self._taken(task, standing, posterior) | {"excluded": tuple(e for e in excluded if e.model != model.id)}
        return Decision(
            **taken,
            id=self._new_id("dec"),
            features=to_bytes(standing.features),
            request=asked(task, 0, self._rules),
            eligible=(model.id,),
            propensities=(1.0,),
            model=model.id,
            propensity=1.0,
            confidence=0.0,
            reason=f"fallback: no model is eligible ({tally(excluded)})",
            policy="fallback",
            fallback=True,
            forced=True,
            expected=None,
        )


def _by_cost(about: Beliefs, estimates: Estimates) -> IntArray:
    """(n,) the models from the lowest expected cost up, unknown ones last; of equals the best expected utility first."""
    return np.lexsort((-about.mean, np.where(np.isnan(estimates.cost), np.inf, estimates.cost)))


def _short_hash(*parts: object) -> str:
    return hashlib.blake2b(msgspec.json.encode(parts, order="deterministic"), digest_size=6).hexdigest()
