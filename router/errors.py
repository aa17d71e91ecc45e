"""What the service can refuse, and what the caller must do next.

    RouterError
    ├─ ConfigurationInvalid      fix the settings
    ├─ TaskInvalid               fix the request (field, remedy)
    ├─ NoEligibleModel           relax a limit or allow the fallback
    ├─ ProviderUnavailable       install its extra or set its key
    ├─ RequestRefused            change the request: the provider will not take it
    ├─ AllModelsFailed           send it again later (attempts)
    │  └─ AllModelsBusy          ... in ``retry_after_s``
    ├─ DecisionNotFound          check the id
    ├─ DecisionUnlogged          send nothing about it: the log was away when it was taken
    ├─ FeedbackNotFound          check the id
    ├─ FeedbackConflict          same key, other payload: correct with PUT
    ├─ OutcomeConflict           an outcome was already recorded
    ├─ ModelNotFound             check the id
    ├─ ModelConflict             the id is taken: change it with PATCH
    ├─ JudgeUnavailable          install what the judge needs, or use another
    ├─ PlanInfeasible            raise the limit that it names
    ├─ KeyMissing                send a valid API key
    ├─ ScopeMissing              use a key that may do this
    ├─ RateExceeded              retry later: the key is limited
    ├─ BudgetExhausted           retry in the next period: the key's budget, or the day's, is spent
    ├─ KeyNotFound               check the id
    ├─ PinNotFound               check the task type
    ├─ KeyConflict               the name is taken
    ├─ Overloaded                retry after a moment
    ├─ StorageUnavailable        retry; the database is not answering
    └─ SchemaTooNew              run a newer pointsman

Every error carries ``field`` (where in the request, if anywhere), ``remedy`` (what to do instead) and, where waiting
helps, ``retry_after_s``. Messages name limits and identifiers that the service made itself; they never repeat what the
caller sent.
"""

from typing import Any

_MOST_WORDS = 300


class RouterError(Exception):
    """A refusal with the field at fault and the remedy."""

    def __init__(self, message: str, *, field: str | None = None, remedy: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.remedy = remedy
        self.retry_after_s = retry_after_s


class ConfigurationInvalid(RouterError):
    """A setting cannot be used."""


class TaskInvalid(RouterError):
    """A request field has an unusable value."""


class NoEligibleModel(RouterError):
    """Every model broke a hard limit and the caller forbids the fallback."""


class ProviderUnavailable(RouterError):
    """The provider has no SDK or no key here."""


class RequestRefused(RouterError):
    """The provider refuses this request and would refuse it again."""


class AllModelsFailed(RouterError):
    """Every model that was tried failed; ``attempts`` names each with the class of its failure."""

    def __init__(self, message: str, *, attempts: tuple[tuple[str, str], ...] = (), **told: Any) -> None:
        super().__init__(message, **told)
        self.attempts = attempts


class AllModelsBusy(AllModelsFailed):
    """Every model that was tried asks to wait."""


class DecisionNotFound(RouterError):
    """No decision has that id."""


class DecisionUnlogged(RouterError):
    """The decision was taken while the log was away: nothing can be reported about it."""


class FeedbackNotFound(RouterError):
    """No feedback has that id."""


class FeedbackConflict(RouterError):
    """The key was used before with another payload."""


class OutcomeConflict(RouterError):
    """Another outcome is already recorded for the decision."""


class ModelNotFound(RouterError):
    """No model has that id."""


class ModelConflict(RouterError):
    """A model with that id exists already."""


class JudgeUnavailable(RouterError):
    """Something that the judge needs is missing here."""


class PlanInfeasible(RouterError):
    """No assignment keeps to every limit."""


class KeyMissing(RouterError):
    """No usable API key came with the request."""


class HostForeign(RouterError):
    """The request is for another host, and no API key says that it may come here all the same."""


class ScopeMissing(RouterError):
    """The API key may not do this."""


class RateExceeded(RouterError):
    """The API key sends faster than it may."""


class BudgetExhausted(RouterError):
    """The API key, or the day, has no budget left for this."""


class CostUnknown(RouterError):
    """Nobody knows what the call may cost, and the API key has a budget."""


class KeyNotFound(RouterError):
    """No API key has that id or name."""


class PinNotFound(RouterError):
    """Nothing was pinned at run time for the task type."""


class KeyConflict(RouterError):
    """A usable API key with that name exists already."""


class Overloaded(RouterError):
    """The write queue is full."""


class StorageUnavailable(RouterError):
    """The database does not answer."""

    @property
    def why(self) -> str | None:
        """What the database's driver said, in a line: for the operator's eyes, since it may name a host, a user or a file."""
        driver = getattr(self.__cause__, "orig", None) or self.__cause__
        words = "" if driver is None else " ".join(str(driver).split())
        return words[:_MOST_WORDS] or None


class SchemaTooNew(RouterError):
    """The database was migrated by a newer release."""
