"""Brings calls that other gateways made into the log, so that the learner starts from them.

They are forced decisions whose id follows from the gateway's: what is in the log already is not added again. Nothing of them is traffic
or spending of this service (``router.domain.decisions.IMPORTED``). Synchronous: call it in a thread.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from router.domain.catalog import Catalog
from router.domain.events import Committed, Feedback, Status, Write
from router.domain.exports import langfuse, litellm, tensorzero
from router.domain.exports.calls import TASK_TYPE, About, Asked, Call, LeftOut, Scored, Told, quality_of
from router.domain.exports.writes import writes_of
from router.domain.tasks import NAME
from router.errors import RouterError, TaskInvalid
from router.ports import Store
from router.storage.export_files import read_rows

GATEWAYS: Mapping[str, ModuleType] = {"litellm": litellm, "langfuse": langfuse, "tensorzero": tensorzero}
_TOGETHER = 160
"""Calls in one transaction."""
_MOST_REASONS = 60
_TEXTS = frozenset({"input", "output", "messages", "response", "proxy_server_request", "raw_request", "raw_response", "input_messages"})
_PROVIDERS = {"gemini": "google", "google_ai_studio_gemini": "google"}
"""Our names of providers that gateways name otherwise."""
_SCORE_NAME = re.compile(rf"(?=.{{1,80}}\Z){NAME}")


@dataclass(frozen=True, slots=True)
class ImportRules:
    """What is read from an export, and as what."""

    gateway: str
    asked: Asked
    renamed: Mapping[str, str]
    """Our model by the name that the export has for it."""
    scale: tuple[float, float] | None = None
    """Scores that are worst and best."""

    def check(self, catalog: Catalog) -> None:
        """Raise ``TaskInvalid`` or ``ModelNotFound`` for what cannot be used."""
        if self.gateway not in GATEWAYS:
            raise TaskInvalid("no export of that name can be read", field="gateway", remedy=f"use {', '.join(GATEWAYS)}")
        for model in self.renamed.values():
            catalog.get(model)
        if self.asked.key is None and self.asked.task_type is None:
            raise TaskInvalid(
                "exports do not say what kind of task a call was",
                field="task-type",
                remedy="name the key that does, --task-type-from KEY, or one for all calls, --task-type NAME",
            )
        if self.asked.task_type is not None and not TASK_TYPE.fullmatch(self.asked.task_type):
            raise TaskInvalid("no task type can have that name", field="task-type", remedy="use letters, digits, . _ : / @ + and -")
        if self.asked.key in _TEXTS:
            raise TaskInvalid("this column holds text of calls", field="task-type-from", remedy="name a tag or a key of the metadata")
        if self.asked.score is not None and not _SCORE_NAME.fullmatch(self.asked.score):
            raise TaskInvalid("no judge can have that name", field="score", remedy="use letters, digits, . _ : / @ + -, at most 80")
        if self.scale is not None and not (all(map(math.isfinite, self.scale)) and self.scale[0] != self.scale[1]):
            raise TaskInvalid("the scale must be two different numbers", field="scale", remedy="worst and best, e.g. --scale 1,5")


@dataclass(slots=True)
class Reason:
    """Why rows were left out."""

    reason: str
    remedy: str
    rows: int = 0
    first: str = ""
    """File and line."""


@dataclass(slots=True)
class Part:
    """The calls of one model on one task type."""

    model: str
    task_type: str
    calls: int = 0
    failed: int = 0
    scored: int = 0


@dataclass(slots=True)
class Imported:
    """What an import did, or would do."""

    gateway: str
    dry_run: bool
    rows: int = 0
    calls: int = 0
    """That can be brought in."""
    added: int = 0
    already: int = 0
    """In the log before, or twice in the export."""
    scores_added: int = 0
    scores_differ: int = 0
    """Scored otherwise in the log: those stay."""
    parts: list[Part] = field(default_factory=list)
    left_out: list[Reason] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class ImportService:
    """Reads exports and writes the log."""

    def __init__(self, store: Store, catalog: Catalog, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock

    def run(
        self, rules: ImportRules, files: Sequence[Path], *, dry_run: bool = False, tell: Callable[[int, int], None] | None = None
    ) -> Imported:
        """Bring in every call of the files that can be.

        Raises ``TaskInvalid``, ``ModelNotFound``, ``StorageUnavailable``.
        """
        rules.check(self._catalog)
        found = _Found(rules, files, self._catalog, tell)
        made = Imported(rules.gateway, dry_run)
        held = self._store.counts()["decisions"]
        group: list[list[Write]] = []
        for call, model, task_type, score in found.calls():
            judge = f"{rules.gateway}/{rules.asked.score}"
            at, version = self._clock(), self._catalog.version
            group.append(writes_of(rules.gateway, call, model, task_type, score, judge=judge, at=at, catalog_version=version))
            if len(group) == _TOGETHER:
                self._commit(group, made)
                group = []
        self._commit(group, made)
        made.rows, made.calls = found.rows, sum(part.calls for part in found.parts.values())
        made.parts = [found.parts[key] for key in sorted(found.parts)]
        made.left_out = sorted(found.left_out.values(), key=lambda reason: -reason.rows)
        made.notes = found.notes()
        if held and made.added:
            made.notes.append(f"the log held {held:,} decisions before: what was imported now counts as newer than they")
        return made

    def _commit(self, group: Sequence[list[Write]], made: Imported) -> None:
        if made.dry_run or not group:
            return
        results = iter(self._store.commit([write for writes in group for write in writes]))
        for writes in group:
            for write, result in zip(writes, [next(results) for _ in writes], strict=True):
                new = isinstance(result, Committed) and not result.repeated
                if write is writes[0]:
                    made.added += new
                    made.already += not new
                elif isinstance(write, Feedback):
                    made.scores_added += new
                    made.scores_differ += isinstance(result, RouterError)


class _Found:
    """The calls of an export, found in as many passes over its files as joining them takes."""

    def __init__(self, rules: ImportRules, files: Sequence[Path], catalog: Catalog, tell: Callable[[int, int], None] | None) -> None:
        self._rules = rules
        self._gateway = GATEWAYS[rules.gateway]
        self._files = files
        self._catalog = catalog
        self._tell = tell
        self._passes, self._passed = (1 if rules.gateway == "litellm" else 3), 0
        self._scores: dict[str, tuple[str, Any]] = {}
        self._about: dict[str, About] = {}
        self._named: Counter[str] = Counter()
        """How many calls a scored id stands for: a score of several is none of each."""
        self._orders = [0, 0]
        self._last: float | None = None
        self._scored = 0
        self.rows = 0
        self.parts: dict[tuple[str, str], Part] = {}
        self.left_out: dict[str, Reason] = {}

    def calls(self) -> Iterator[tuple[Call, str, str, float | None]]:
        """Each with its model, its task type and its quality."""
        if self._passes > 1:
            self._gather()
        for place, row in self._read():
            self.rows += 1
            try:
                told = self._row(row)
                if isinstance(told, Scored):
                    self._account(told)
                if not isinstance(told, Call):
                    continue
                call = told
                model = self._model(call)
                about = None if call.about is None else self._about.get(call.about)
                task_type = (about.task_type if about is not None else None) or call.task_type
                if task_type is None:
                    raise LeftOut(f"nothing says {self._rules.asked.key}", "add --task-type NAME for the calls that say nothing")
            except LeftOut as exc:
                self._leave(exc, place)
                continue
            score = self._quality(call, place)
            part = self.parts.setdefault((task_type, model), Part(model, task_type))
            part.calls += 1
            part.failed += call.status is not Status.OK
            part.scored += score is not None
            self._scored += score is not None
            self._follow(call.made)
            yield call, model, task_type, score

    def notes(self) -> list[str]:
        """What is to be known of the files as a whole."""
        made = []
        if self._orders[1] > self._orders[0]:
            made.append("the files go from new to old, and what comes last counts most: sort them by time, the oldest first")
        if self.parts and not self._scored:
            asked = self._rules.asked.score
            why = "no --score was named" if asked is None else f"no call has a score {asked}"
            made.append(f"nothing is said of quality ({why}): cost, speed and failures are learned alone")
        return made

    def _gather(self) -> None:
        for _, row in self._read():
            try:
                told = self._row(row)
            except LeftOut:
                continue  # counted in the last pass
            if isinstance(told, Scored):
                if told.target not in self._scores or self._scores[told.target][0] <= told.order:
                    self._scores[told.target] = told.order, told.value
            elif isinstance(told, About):
                self._about[told.id] = told
        if not self._scores:
            self._passed += 1
            return
        for _, row in self._read():
            try:
                told = self._row(row)
            except LeftOut:
                continue
            if isinstance(told, Call):
                self._named.update(target for target in self._targets(told) if target in self._scores)

    def _targets(self, call: Call) -> tuple[str, ...]:
        about = None if call.about is None else self._about.get(call.about)
        return call.targets if about is None else (*call.targets, *about.targets)

    def _row(self, row: dict[str, Any] | None) -> Told:
        if row is None:
            raise LeftOut("the line is no JSON object", "export as JSON lines, one object per line")
        told: Told = self._gateway.told(row, self._rules.asked)
        return told

    def _model(self, call: Call) -> str:
        for name in call.names:
            if (ours := self._rules.renamed.get(name)) is not None:
                return ours
        for name in call.names:
            provider, _, rest = name.partition("/")
            for known in (name, f"{_PROVIDERS.get(provider, provider)}/{rest}"):
                if known in self._catalog:
                    return known
        spelt = "".join(letter if letter.isprintable() else "?" for letter in call.names[0][:120])
        raise LeftOut(f"the catalogue has no model {spelt}", f"say which one it is, --map {spelt}=PROVIDER/NAME, or add it")

    def _account(self, scored: Scored) -> None:
        """Raise ``LeftOut`` for a score that no call can have."""
        if not self._named[scored.target]:
            raise LeftOut("a score of no call in the files", "give the file with its call too")
        if self._scores[scored.target] != (scored.order, scored.value):
            raise LeftOut("a later score of the same call counts", "nothing to do")

    def _quality(self, call: Call, place: str) -> float | None:
        if call.status is not Status.OK:
            return None
        value = call.score
        if value is None:
            target = next((target for target in self._targets(call) if target in self._scores), None)
            if target is None:
                return None
            if self._named[target] > 1:
                self._leave(LeftOut("a score of several calls together (only the score)", "score each call"), place)
                return None
            value = self._scores[target][1]
        try:
            return quality_of(value, self._rules.scale)
        except LeftOut as exc:
            self._leave(LeftOut(f"{exc.reason} (only the score)", exc.remedy), place)
            return None

    def _follow(self, made: float | None) -> None:
        if made is not None and self._last is not None and made != self._last:
            self._orders[made < self._last] += 1
        self._last = made if made is not None else self._last

    def _leave(self, why: LeftOut, place: str) -> None:
        reason, remedy = why.reason, why.remedy
        if reason not in self.left_out and len(self.left_out) >= _MOST_REASONS:
            reason, remedy = "other reasons", "see to those above first"
        entry = self.left_out.setdefault(reason, Reason(reason, remedy, first=place))
        entry.rows += 1

    def _read(self) -> Iterator[tuple[str, dict[str, Any] | None]]:
        sizes = [path.stat().st_size if path.is_file() else 0 for path in self._files]
        total, before = sum(sizes) * self._passes, sum(sizes) * self._passed
        for path, size in zip(self._files, sizes, strict=True):

            def told(done: int, before: int = before) -> None:
                if self._tell is not None:
                    self._tell(before + done, total)

            for line, row in read_rows(path, self._gateway.NEEDED, told):
                yield f"{path.name}:{line}", row
            before += size
        self._passed += 1
