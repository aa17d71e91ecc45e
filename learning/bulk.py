"""The fold of a whole stretch of the log at once. It leaves a learner exactly as folding its items one by one does, bit for bit.

What makes that so: sums are added up in the order of the log (``learning.running``), detectors step in that order over numbers that
are worked out together (``learning.detectors``), and what happens rarely ends a stretch and is folded by itself: a voice that is new,
sums that are anchored anew, an alarm. Names that are new are entered, and the common part is refitted, at the very items where a fold
one by one would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from learning.arrays import FloatArray, IntArray
from learning.block import AGREEMENT, CALL, Block
from learning.detectors import LEAST_REFERENCE
from learning.learner import Learner
from learning.running import PACKED, Products, Running, pack, unpack
from learning.scan import Looked, Watching, scan
from learning.statistics import MAX_FEATURE, Statistics
from learning.targets import Target
from learning.text import TextScore

_FEW = 64
"""Items for which a stretch does not pay."""
_AFTER_ALARM = 2_048
"""Items of the first stretch after an alarm: it seldom comes alone, and what lies behind it is worked out again."""


class Beside:
    """What is folded beside the items of a block and reads what is learned from them, each with the number of items that come before it.

    It touches nothing of theirs; it need only see what has been learned of voices, and that changes when quality is refitted.
    """

    def __init__(self, learner: Learner, texts: Sequence[tuple[int, TextScore]] = ()) -> None:
        self._learner = learner
        self._texts = texts
        self._folded = 0
        self._first = 0

    def after(self, first: int) -> "Beside":
        """The same, items being counted from ``first`` on from now on."""
        self._first = first
        return self

    def upto(self, items: int) -> None:
        """Fold what comes before any further items than the first so many."""
        begun = self._folded
        while self._folded < len(self._texts) and self._texts[self._folded][0] <= self._first + items:
            self._folded += 1
        if self._folded > begun:
            self._learner.fold_texts([text for _, text in self._texts[begun : self._folded]])


def fold_block(learner: Learner, block: Block, beside: Beside | None = None) -> None:
    """Fold everything in a block, and what stands beside it.

    Raises
    ------
    InvalidContext
        Where the fold of an item by itself raises it; what came before is folded.
    """
    at, size = 0, len(block)
    beside = beside or Beside(learner)
    while at < len(block):
        part = block.part(at, min(len(block), at + size))
        plain = _plain(learner.statistics, part)
        if plain > _FEW:
            done, alarm = _Stretch(learner, part.part(0, plain), beside, at).fold()
            size = _AFTER_ALARM if alarm else size * 4
        else:
            done = min(plain + 1, len(part))
            for i in range(done):
                beside.upto(at + i)
                learner.fold_item(part.item(i))
        at += done
    beside.upto(at)


def _latest(statistics: Statistics, clock: IntArray) -> IntArray:
    """(n + 1,) the newest position folded before each item, and after the last."""
    return np.maximum.accumulate(np.concatenate([[statistics.now], clock]))


def _plain(statistics: Statistics, block: Block) -> int:
    """Items up to the first that has to be folded by itself."""
    observed = block.kind < CALL
    unusual = _latest(statistics, block.clock)[1:] - statistics.anchor > statistics.reach
    known = np.array([statistics.voices.find(voice) is not None for voice in block.voices] or [True])
    unusual |= (block.kind == Target.QUALITY) & ~known[block.voice]
    bad = ~(np.abs(block.features).max(axis=1, initial=0.0) <= MAX_FEATURE)
    unusual |= observed & ~(np.isfinite(block.value) & np.isfinite(block.weight))
    if bad.any():
        unusual[observed] |= bad[block.row[observed]]
    return int(unusual.argmax()) if unusual.any() else len(block)


@dataclass(frozen=True, slots=True)
class _Observed:
    """Observations of one target in a stretch."""

    at: IntArray
    """(n,) which items they are."""
    value: FloatArray
    weight: FloatArray
    """(n,) with decay and cuts."""
    running: Running
    """By cell; where voices are told apart, by voice and cell, as said."""


class _Stretch:
    """Items that hold nothing unusual but, perhaps, an alarm."""

    def __init__(self, learner: Learner, block: Block, beside: Beside, first: int) -> None:
        """``first``: of the items as ``beside`` counts them."""
        self.learner, self.statistics, self.block = learner, learner.statistics, block
        self.beside, self.first = beside, first
        self.now = _latest(self.statistics, block.clock)
        self._name()
        self.products = Products.of(block.features)
        self.observed = {target: self._observe(target) for target in Target}

    def _name(self) -> None:
        """Give every name the index that it has, or is going to have, and find the items where new ones come up."""
        block, statistics = self.block, self.statistics
        seen = np.flatnonzero(block.kind <= CALL)
        observed = np.flatnonzero(block.kind < CALL)
        self.models, model = _indices(block.models, block.model[seen], statistics.models, statistics.find_model)
        self.tasks, task = _indices(block.task_types, block.task[observed], statistics.task_types, statistics.find_task)
        self.model = model[block.model]
        width = len(self.tasks) + 1
        place = self.model[observed] * width + task[block.task[observed]]
        places, first, inverse = np.unique(place, return_index=True, return_inverse=True)
        cells = np.empty(len(places), dtype=np.int64)
        self.cell_names: dict[int, tuple[int, int]] = {}
        born: list[tuple[int, int, int]] = []
        count = statistics.n_cells
        for i in np.argsort(first, kind="stable").tolist():
            m, t = divmod(int(places[i]), width)
            known = statistics.find_cell(m, t)
            if known is None:
                known, count = count, count + 1
                born.append((int(observed[first[i]]), m, t))
            cells[i] = known
            self.cell_names[known] = (m, t)
        self.n_cells = count
        self.cell = np.full(len(block), -1)
        self.cell[observed] = cells[inverse]
        met = np.full(len(self.models), len(block))
        np.minimum.at(met, self.model[seen], seen)
        born += [(int(met[m]), m, -1) for m in range(len(statistics.models), len(self.models))]
        self.born = sorted(born)
        """(item, model, task type or -1) of cells and models that are new."""
        self.entered = 0

    def _observe(self, target: Target) -> _Observed:
        block, statistics = self.block, self.statistics
        at = np.flatnonzero(block.kind == target)
        clock, cell, value = block.clock[at], self.cell[at], block.value[at]
        weight = block.weight[at] * statistics.weights(target, clock)
        for (cut_target, cut_cell), cuts in statistics.cuts.items():
            if cut_target == target:
                own = cell == cut_cell
                for before, share in cuts:
                    weight[own & (clock < before)] *= share
        said = self.products.weighed(block.row[at], value, weight, block.weight[at])
        if target is Target.QUALITY and statistics.voices.several:
            voices = np.array([statistics.voices.find(voice) or 0 for voice in block.voices])
            group = voices[block.voice[at]] * self.n_cells + cell
            voice, own = np.divmod(np.unique(group), self.n_cells)
            initial = np.zeros((len(own), PACKED))
            for v in np.unique(voice).tolist():
                some = np.flatnonzero((voice == v) & (own < statistics.n_cells))
                sums = statistics.voices.sums[v]
                gram, moment, square = (values[own[some]] for values in sums)
                initial[some] = pack(gram, moment, square, np.zeros(len(some)))
        else:
            group, initial = cell, self._held(target, np.unique(cell))
        return _Observed(at, value, weight, Running(group, initial, said, self.products.columns))

    def _held(self, target: Target, cells: IntArray) -> FloatArray:
        """(G, w) packed sums that cells have now."""
        statistics = self.statistics
        old = cells < statistics.n_cells
        held = np.zeros((len(cells), PACKED))
        gram, moment, square, labels = (values[cells[old]] for values in statistics.held(target))
        held[old] = pack(gram, moment, square, labels)
        return held

    def fold(self) -> tuple[int, bool]:
        """Fold the items up to and including the first alarm; how many those are, and whether there was one."""
        learner, watch = self.learner, self.learner.watch
        watching = [self._watching(target, self.observed[target]) for target in Target if target in watch.watched]
        found = scan(watch, watching, self.block.voices, self.block.features)
        count = len(self.block) if found is None else found[0] + 1
        self._add(count)
        if found is not None:
            self.beside.upto(self.first + count - 1)
            learner.answer(found[1])
        return count, found is not None

    def _place_names(self, cell: int) -> tuple[str, str]:
        m, t = self.cell_names[cell]
        return self.models[m], self.tasks[t]

    def _watching(self, target: Target, observed: _Observed) -> Watching:
        """What the detectors need of the values that they look at."""
        block, statistics = self.block, self.statistics
        at = observed.at
        cells = self.cell[at]
        restarted = np.zeros(self.n_cells, dtype=np.int64)
        for (cut_target, cell), cuts in statistics.cuts.items():
            if cut_target == target:
                restarted[cell] = cuts[-1][0]
        which = np.flatnonzero((block.weight[at] > 0) & ~block.correction[at] & (block.clock[at] >= restarted[cells]))
        now = self.now[at[which]]
        decay = statistics.decays(target, now)
        enough = observed.running.weight(which) * decay >= LEAST_REFERENCE
        which, now, decay = which[enough], now[enough], decay[enough]
        item = at[which]
        looked = Looked(
            item=item,
            cell=cells[which],
            of=which,
            row=block.row[item],
            clock=block.clock[item],
            now=now,
            decay=decay,
            value=observed.value[which],
            weight=block.weight[item],
            voice=block.voice[item],
        )
        return Watching(
            target, self.learner.watch, looked, observed.running, block.features, statistics.half_life_of(target), self._place_names
        )

    def _add(self, count: int) -> None:
        """Fold the first ``count`` items into the sums, and refit where it is time."""
        learner, statistics, block = self.learner, self.statistics, self.block
        self.added = dict.fromkeys(Target, 0)
        self.agreed = 0
        due: list[tuple[int, Target]] = []
        for target, observed in self.observed.items():
            end = int(np.searchsorted(observed.at, count))
            due += [(int(observed.at[ordinal - 1]), target) for ordinal in learner.take(target, end)]
        for item, target in sorted(due):
            self._enter(item + 1)
            self._commit(target, item + 1)
            if target is Target.QUALITY:
                self.beside.upto(self.first + item)
            learner.refit(target)
        self._enter(count)
        for target in Target:
            self._commit(target, count)
        calls = np.flatnonzero(block.kind[:count] == CALL)
        statistics.add_calls(self.model[calls], block.clock[calls], block.value[calls])
        statistics.folded += int(np.count_nonzero(block.kind[:count] < CALL))
        learner.moved()

    def _enter(self, count: int) -> None:
        """Enter the names that the first ``count`` items bring, and the newest position among them."""
        statistics = self.statistics
        statistics.now = int(self.now[count])
        before = self.entered
        while self.entered < len(self.born) and self.born[self.entered][0] < count:
            _, m, t = self.born[self.entered]
            if t < 0:
                statistics.model_index(self.models[m])
            else:
                statistics.cell(self.models[m], self.tasks[t])
            self.entered += 1
        if self.entered != before:
            self.learner.align()

    def _commit(self, target: Target, count: int) -> None:
        """Bring the sums of a target, and what judges agree on, up to the first ``count`` items."""
        statistics, observed = self.statistics, self.observed[target]
        first, end = self.added[target], int(np.searchsorted(observed.at, count))
        if target is Target.QUALITY:
            agreements = np.flatnonzero(self.block.kind[self.agreed : count] == AGREEMENT) + self.agreed
            statistics.agree_all([self.block.agreements[row] for row in self.block.row[agreements].tolist()])
            self.agreed = count
        if end == first:
            return
        groups, sums = observed.running.after(end)
        if target is Target.QUALITY and statistics.voices.several:
            voice, cell = np.divmod(groups, self.n_cells)
            for v in np.unique(voice).tolist():
                own = voice == v
                for mine, new in zip(statistics.voices.sums[v], unpack(sums[own])[:3], strict=True):
                    mine[cell[own]] = new
            groups, sums = self._fused(observed, first, end)
        for mine, new in zip(statistics.held(target), unpack(sums), strict=True):
            mine[groups] = new
        self.added[target] = end

    def _fused(self, observed: _Observed, first: int, end: int) -> tuple[IntArray, FloatArray]:
        """Cells and their fused sums after the scores ``first`` to before ``end``, all weighed as at the last refit."""
        block, voices = self.block, self.statistics.voices
        at = observed.at[first:end]
        cell = self.cell[at]
        voice = np.array([voices.find(voice) or 0 for voice in block.voices])[block.voice[at]]
        value, weight = voices.mapped(voice, self.models, self.model[at], cell, observed.value[first:end], observed.weight[first:end])
        said = self.products.weighed(block.row[at], value, weight, block.weight[at])
        return Running(cell, self._held(Target.QUALITY, np.unique(cell)), said, self.products.columns).after(len(at))


def _indices(names: Sequence[str], used: IntArray, known: Sequence[str], find: Callable[[str], int | None]) -> tuple[list[str], IntArray]:
    """All names by index, those that are new at the end as they come up, and the index of each of ``names``."""
    codes, first = np.unique(used, return_index=True)
    everything = list(known)
    index = np.zeros(max(len(names), 1), dtype=np.int64)
    for code in codes[np.argsort(first)].tolist():
        found = find(names[code])
        if found is None:
            found = len(everything)
            everything.append(names[code])
        index[code] = found
    return everything, index
