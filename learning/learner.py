"""The fold: evidence in, posterior out.

The learner owns the sufficient statistics and what is derived from them. One observation costs one model's posterior; the common
part and the variances are refitted on a schedule that depends on the number of folded observations only, so that every replica
that folds the same log holds the same posterior.
"""

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from learning.arrays import FloatArray
from learning.drift import Alarm, Incident, Watch
from learning.facts import ArmFacts, covariate, elders
from learning.hierarchy import Common
from learning.index import Names
from learning.observations import Call, Observation
from learning.posterior import Posterior
from learning.statistics import Statistics
from learning.target_state import TargetState
from learning.targets import Target
from learning.text import TextBelief, TextEvidence, TextScore
from learning.verdicts import items_of
from learning.voices import Agreement, Verdict

_FAILURE_PRIOR = (0.5, 49.5)
"""Beta: one failure in a hundred calls before evidence."""
_KEPT_CELL = 0.02
"""Share of a cell's evidence from before its change that is kept."""
_KEPT_MODEL = 0.2
"""The same of every cell of a model that has changed as a whole: what each one did is less sure."""
_KEPT_QUALITY = 0.5
"""Share of the quality evidence kept where answers have another length."""
_KEPT_QUALITY_FAR = 0.1
"""The same where the length has moved by more than ``_FAR`` standard deviations."""
_FAR = 1.5
_EAGER_AFTER_ALARM = 0.4
_POOL_LABELS = 200.0
"""Labels after which a model that joins is a newcomer."""
_NEW_LABELS = 60.0
_NEW_SCALE = 20.0
_SCORED_CALLS = 20.0
"""Calls, all of them scored, with which the share of calls that are scored begins."""
_LEAST_THRIFT = 0.5


class Learner:
    """Folds observations and publishes posteriors.

    Parameters
    ----------
    half_life : float
        Log records after which a quality score counts half.
    watch : Watch, optional
        Detectors; those of ``learning.drift.WATCHED`` by default.
    trusted : sequence of str
        Judges that others are measured by; see ``learning.voices``.
    """

    def __init__(
        self,
        half_life: float = 24_000.0,
        statistics: Statistics | None = None,
        watch: Watch | None = None,
        trusted: Sequence[str] = (),
    ) -> None:
        self.statistics = statistics if statistics is not None else Statistics(half_life, trusted)
        self._targets = [TargetState(target) for target in Target]
        self._facts: dict[str, ArmFacts] = {}
        self._posterior: Posterior | None = None
        self._fresh: frozenset[Target] = frozenset()
        self._spread = False
        self._layout: Names | None = None
        self._billed: FloatArray | None = None
        self._failures: FloatArray | None = None
        self._arm_count = 0
        self.texts: dict[int, TextEvidence] = {}
        """By ``Projection``; empty where no text was read."""
        self._beliefs: dict[int, tuple[object, Names, TextBelief]] = {}
        self.watch = watch if watch is not None else Watch()
        self.joined: dict[str, float] = {}
        """Labels that all models had together when a model became known; only where they were many."""
        self.align()

    @classmethod
    def restore(
        cls,
        statistics: Statistics,
        commons: Sequence[Common],
        counters: Sequence[Mapping[str, float]],
        facts: Mapping[str, ArmFacts],
        watch: Watch,
        joined: Mapping[str, float],
        texts: Mapping[int, TextEvidence],
    ) -> "Learner":
        """Rebuild from saved statistics, common parts and ``counters``, one each per target, and what was being watched."""
        learner = cls(statistics=statistics, watch=watch)
        learner.joined.update(joined)
        learner.texts.update(texts)
        learner.register(facts, arriving=False)
        for state, common, counts in zip(learner._targets, commons, counters, strict=True):
            state.common = common
            state.total, state.since_fit, state.decay = int(counts["total"]), int(counts["since_fit"]), float(counts["decay"])
        return learner

    def folds_by(self, half_life: float, trusted: Sequence[str]) -> bool:
        """Whether a fold of the same log with these settings would be this one."""
        return self.statistics.half_life == half_life and self.statistics.voices.trusted == frozenset(trusted)

    def counters(self, target: Target) -> dict[str, float]:
        """What a snapshot keeps of one target beside its common part."""
        state = self._targets[target]
        return {"total": state.total, "since_fit": state.since_fit, "decay": state.decay}

    @property
    def seq(self) -> int:
        """Log position up to which the log is folded."""
        return self.statistics.seq

    def register(self, facts: Mapping[str, ArmFacts], *, arriving: bool = True) -> None:
        """Make models known, with the facts that shape their prior. Evidence of other models is untouched.

        ``arriving``: those not known before join now; False where a log says when they do, with ``arrive``.
        """
        if all(self._facts.get(model) == known for model, known in facts.items()):
            return
        self._facts.update(facts)
        if arriving:
            self.arrive([model for model in facts if self.statistics.find_model(model) is None])
        self._know(facts)

    def arrive(self, models: Iterable[str]) -> None:
        """Models join. One without evidence that finds all others with much is a newcomer; the fold so far alone decides that."""
        statistics = self.statistics
        pool = float(statistics.labels[Target.QUALITY].sum())
        if pool <= _POOL_LABELS:
            return
        tried = {int(m) for m in statistics.cell_model} | set(np.flatnonzero(statistics.calls).tolist())
        new = [model for model in models if (m := statistics.find_model(model)) is None or m not in tried]
        self.joined.update(dict.fromkeys(new, pool))
        self._know(new)

    def _know(self, models: Iterable[str]) -> None:
        for model in sorted(models):
            self.statistics.model_index(model)
        self.align()

    def align(self) -> None:
        """Give every model of the statistics its covariate and its elders; what is derived follows when it is read."""
        models = self.statistics.models
        for state in self._targets:
            state.stale = True
            state.covariate = np.array([covariate(state.target, self._facts.get(m)) for m in models])
            state.elders = elders(state.target, models, self._facts, self.joined)
        self._arm_count = len(models)
        self._layout = self._posterior = self._billed = self._failures = None

    def fold(self, observation: Observation) -> None:
        """Fold one observation; see ``Statistics.add`` for what is refused."""
        n_cells, anchor = self.statistics.n_cells, self.statistics.anchor
        alarm = self.watch.look(self.statistics, observation)
        cell = self.statistics.add(observation)
        if self.statistics.anchor != anchor:
            self._weigh_anew()
        if len(self.statistics.models) != self._arm_count:
            self.align()
        elif self.statistics.n_cells != n_cells:
            for state in self._targets:
                state.extend(self.statistics)
        if self.statistics.n_cells != n_cells:
            self._layout = None
        if observation.target is Target.COST:
            self._billed = None
        self._targets[observation.target].update(self.statistics, cell)
        if alarm is not None:
            self.answer(alarm)
        self._posterior = self._failures = None

    def fold_item(self, item: Observation | Call | Agreement | TextScore) -> None:
        """Fold one piece of evidence."""
        match item:
            case Observation():
                self.fold(item)
            case Call():
                self.fold_call(item)
            case Agreement():
                self._agree(item)
            case TextScore():
                self.fold_texts([item])

    def take(self, target: Target, count: int) -> list[int]:
        """Take note of observations that are going to be folded in the sums; after which of them, from 1, ``refit`` is due."""
        return self._targets[target].take(count)

    def refit(self, target: Target) -> None:
        """Refit the common part of a target to the sums as they are; what is derived follows when it is read."""
        self._targets[target].fit(self.statistics)

    def moved(self) -> None:
        """Take note that the sums have moved on."""
        for state in self._targets:
            state.stale = True
        self._layout = self._posterior = self._billed = self._failures = None

    def answer(self, alarm: Alarm) -> None:
        """Restart the cells of an alarm from what they brought since the change, and explore there for a while."""
        statistics, watch = self.statistics, self.watch
        watch.note(alarm)
        shares = {alarm.target: _KEPT_MODEL if alarm.task_type is None else _KEPT_CELL}
        if alarm.target is Target.OUTPUT_TOKENS:
            shares[Target.QUALITY] = _KEPT_QUALITY_FAR if abs(alarm.shift) > _FAR else _KEPT_QUALITY
        model = statistics.model_index(alarm.model)
        for target, share in shares.items():
            for cell in np.flatnonzero(statistics.cell_model == model).tolist():
                task_type = statistics.task_types[statistics.cell_task[cell]]
                if alarm.task_type in (None, task_type):
                    before = max(alarm.since, statistics.restarted(target, cell))
                    statistics.cut(target, cell, before, share, watch.values_since(target, alarm.model, task_type, before))
                    watch.cut(target, alarm.model, task_type)
            self._targets[target].refit(statistics)

    @property
    def incidents(self) -> Sequence[Incident]:
        """Changes that were found, oldest first."""
        return self.watch.told(self.statistics.now)

    def digest(self) -> str:
        """Of everything that the log determines: equal folds of the same log have equal digests."""
        parts = f"{self.statistics.digest()}|{self.watch.digest()}|{sorted(self.joined.items())}"
        parts += "".join(f"|{kind} {text.digest()}" for kind, text in sorted(self.texts.items()))
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

    def _eagerness(self) -> FloatArray:
        """(K, T + 1): see ``Posterior.eager``."""
        statistics, names = self.statistics, self._names()
        eager = np.full(names.cells.shape, self._thrift() - 1.0)
        for incident in self.watch.open(statistics.now):
            m = names.model_index[incident.model]
            t = slice(None) if incident.task_type is None else names.task_index[incident.task_type]
            eager[m, t] = _EAGER_AFTER_ALARM
        for model in self.joined:
            m = names.model_index[model]
            n = float(statistics.labels[Target.QUALITY][statistics.cell_model == m].sum())
            if n < _NEW_LABELS:
                eager[m] = np.maximum(eager[m], _NEW_SCALE / (_NEW_SCALE + n))
        return eager

    def _thrift(self) -> float:
        """How wide to explore, between ``_LEAST_THRIFT`` and 1: the fourth root of the share of calls that are scored.

        A call that explores costs the same whether it is scored or not, and tells something only if it is.
        """
        statistics, decay = self.statistics, self.statistics.decay(Target.QUALITY)
        scores = math.fsum(statistics.gram[Target.QUALITY, :, 0, 0].tolist()) * decay
        calls = math.fsum(statistics.calls.tolist()) * decay
        return min(1.0, max(_LEAST_THRIFT, math.sqrt(math.sqrt((scores + _SCORED_CALLS) / (calls + _SCORED_CALLS)))))

    def fold_verdict(self, verdict: Verdict) -> None:
        """Fold a change of what judges say of one answer: what they said is taken back, what they say is put in."""
        for item in items_of(verdict, self.statistics.voices):
            self.fold_item(item)

    def _agree(self, agreement: Agreement) -> None:
        anchor = self.statistics.anchor
        self.statistics.agree(agreement)
        if self.statistics.anchor != anchor:
            self._weigh_anew()

    def fold_texts(self, scores: Sequence[TextScore]) -> None:
        """Fold scores into what the texts of their tasks foretold, in order; those of their voices' quality are folded already."""
        kinds: dict[int, list[TextScore]] = {}
        for score in scores:
            voice = self.statistics.voices.placed(score.voice)
            kinds.setdefault(score.foretold.text[0], []).append(score if voice == score.voice else replace(score, voice=voice))
        for kind, told in kinds.items():
            self._text(kind).fold_all(told, self.statistics.heard)
        self._posterior = None

    def _text(self, kind: int) -> TextEvidence:
        if kind not in self.texts:
            self.texts[kind] = TextEvidence(self.statistics.half_life)
        return self.texts[kind]

    def fold_call(self, call: Call) -> None:
        """Fold one finished call into the reliability of its model."""
        anchor = self.statistics.anchor
        self.statistics.add_call(call)
        if len(self.statistics.models) != self._arm_count:
            self.align()
        if self.statistics.anchor != anchor:
            self._weigh_anew()
        self._posterior = self._failures = None

    def _weigh_anew(self) -> None:
        """Read every target as of now: the anchor has moved, and with it what the sums are multiples of."""
        for state in self._targets:
            state.decay = self.statistics.decay(state.target)
            state.stale = True

    def advance(self, seq: int) -> None:
        """Say that the log is folded up to ``seq``."""
        self.statistics.seq = seq
        if self._posterior is not None:
            self._posterior = replace(self._posterior, seq=seq)

    def common(self, target: Target) -> Common:
        """The fitted common part of one target."""
        return self._targets[target].common

    def posterior(self, only: Collection[Target] = tuple(Target), *, intervals: bool = True) -> Posterior:
        """The immutable posterior as of now; targets outside ``only``, and intervals unless asked for, may be those of an earlier call."""
        if self._posterior is None or not self._fresh.issuperset(only) or (intervals and not self._spread):
            self._fresh = frozenset(only) if self._posterior is None else self._fresh.union(only)
            self._spread = intervals
            statistics, names = self.statistics, self._names()
            self._posterior = Posterior(
                seq=statistics.seq,
                models=names.models,
                task_types=names.task_types,
                model_index=names.model_index,
                task_index=names.task_index,
                cells=names.cells,
                labels=statistics.labels[Target.QUALITY].copy(),
                billed=self._billed_calls(),
                targets=tuple(state.publish(statistics, state.target in only, intervals) for state in self._targets),
                failure_rate=self._failure_rate(),
                eager=self._eagerness(),
                texts=self._text_beliefs(names),
            )
        return self._posterior

    def _text_beliefs(self, names: Names) -> dict[int, TextBelief]:
        for kind, text in self.texts.items():
            known = self._beliefs.get(kind)
            if known is None or known[0] is not text.fitted or known[1] is not names:
                self._beliefs[kind] = text.fitted, names, text.belief(names.models, names.task_types)
        return {kind: belief for kind, (_, _, belief) in self._beliefs.items()}

    def _billed_calls(self) -> FloatArray:
        if self._billed is None:
            statistics = self.statistics
            labels = statistics.labels[Target.COST]
            self._billed = np.bincount(statistics.cell_model, labels, minlength=len(statistics.models)).astype(np.float64)
        return self._billed

    def _failure_rate(self) -> FloatArray:
        if self._failures is None:
            a, b = _FAILURE_PRIOR
            decay = self.statistics.decay(Target.QUALITY)
            self._failures = (a + self.statistics.failures * decay) / (a + b + self.statistics.calls * decay)
        return self._failures

    def _names(self) -> Names:
        if self._layout is None:
            self._layout = self.statistics.names()
        return self._layout
