"""Everything an operator can set: ``POINTSMAN_*`` variables, a ``.env`` file, or the TOML file that ``POINTSMAN_CONFIG`` names."""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError, TomlConfigSettingsSource

from router.errors import ConfigurationInvalid

PREFIX = "POINTSMAN_"
CONFIG_VARIABLE = "POINTSMAN_CONFIG"
_SCHEMES = ("sqlite://", "postgresql://", "postgres://", "postgresql+psycopg://", "memory://")

_EXAMPLES = {"policy_parameters": '{"epsilon": 0.05}', "provider_urls": '{"openai": "http://127.0.0.1:9000/v1"}'}
"""Settings that are written as JSON."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Settings(BaseSettings):
    """The service's settings. Build them with ``load`` so that a bad value names its field and remedy."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: str = Field("sqlite:///pointsman.db", repr=False)
    """``sqlite:///FILE``, ``postgresql://USER:PASSWORD@HOST/DATABASE`` (for several services) or ``memory://`` (nothing survives)."""
    database_connections: int = Field(5, ge=3, le=100)
    """To a PostgreSQL server, at most: one writes, one listens, the others read."""
    durability: Literal["full", "normal"] = "full"
    """full: an acknowledged write survives power loss; normal: it survives a killed process."""
    migrate: bool = True
    """Bring the database to this release's schema at start-up."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=1, le=65535)
    max_body_bytes: int = Field(1024 * 1024, ge=1024, le=1024**3)
    body_receipt_s: float = Field(30.0, gt=0, le=3_600, allow_inf_nan=False)
    """How long a body may take to arrive."""

    policy: str = Field("thompson", pattern=r"^[a-z][a-z0-9_]{0,63}$")
    policy_parameters: dict[str, Finite] = Field(default_factory=dict)
    """Hyper-parameters of the default policy, by name; in a variable as a JSON object."""
    half_life_decisions: float = Field(8_000, ge=10, le=1e12, allow_inf_nan=False)
    """Evidence this many decisions old counts half."""

    trusted_judges: str = Field("human,code,exact,numeric,label", pattern=r"^[^,\s][^,]*(,[^,]+)*$|^$")
    """Judges whose scores count as the truth about an answer, with commas between: the others are calibrated against them."""

    weight_quality: Weight = 1.0
    weight_cost: Weight = 0.3
    weight_latency: Weight = 0.1
    cost_reference_usd: Positive = 0.01
    """The cost per call that weighs as much as one whole unit of quality at weight 1."""
    latency_reference_s: Positive = 10.0

    text_features: Literal["off", "hashed", "embedding"] = "off"
    """What the log keeps of a task's text, for decisions to use where it proves its worth: nothing, 32 hashed sums of its words, or as many
    numbers of an embedding model (extra ``embeddings``; 15 to 90 ms of CPU per request)."""

    budget_usd_per_request: Positive | None = None
    """What a request may cost on average: money gets dearer until it holds."""
    budget_usd_per_day: Positive | None = None
    """What all requests of a day (UTC) may cost, by the log and so for all services on it: shared out over the requests still expected."""
    budget_exhausted: Literal["cheapest", "refuse"] = "cheapest"
    """Where the day's money is spent. cheapest: the eligible model with the lowest expected cost; refuse: 429 until the next day."""
    exploration_quality: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    """Expected points of quality that one decision may give up to learn; None sets no limit."""
    exploration_usd: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Expected dollars that it may spend on top."""
    safe_model: str | None = Field(None, min_length=3, max_length=200)
    """A model that is known to do: where it is eligible, others are drawn only as far as evidence shows them no worse."""
    safe_shortfall: float = Field(0.01, ge=0, le=1, allow_inf_nan=False)
    """Utility (0.01 = one point of quality at weight 1) that a decision may be expected to fall below it."""
    exploration_quality_per_day: Positive | None = None
    """Expected points of quality that all decisions of a day (UTC) may give up to learn, over all services; then they explore no more."""
    exploration_usd_per_day: Positive | None = None
    """Expected dollars that they may spend on top."""

    providers: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9_-]*(\s*,\s*[a-z0-9][a-z0-9_-]*)*$")
    """Providers to call, by name and with commas between; None = all that have an SDK and a key. ``scripted`` and the
    deprecated ``google-legacy`` only where they are named."""
    provider_urls: dict[str, str] = Field(default_factory=dict)
    """Base URLs by provider; a name without an adapter of its own is an OpenAI-compatible endpoint with the key ``NAME_API_KEY``."""
    openai_client: Literal["direct", "sdk"] = "direct"
    """What carries calls to OpenAI-compatible endpoints: the wire as it is, or the vendor's SDK at several times the CPU."""
    provider_timeout_s: Positive = 300.0
    """For a whole answer."""
    provider_first_token_s: Positive = 60.0
    """For the first token of a stream."""
    provider_idle_s: Positive = 60.0
    """Between two tokens."""
    max_attempts: int = Field(3, ge=1, le=10)
    """Provider calls for one request, fallbacks included."""
    retry_share: float = Field(0.1, ge=0, le=1, allow_inf_nan=False)
    """Further calls per request, over all traffic."""

    judge_share: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    """Share of the executed calls whose answers are judged by a model in the background; 0 = none."""
    judge_models: str = Field("", pattern=r"^([a-z0-9][a-z0-9_-]*/[!-+\--~]+(\s*,\s*[a-z0-9][a-z0-9_-]*/[!-+\--~]+)*)?$")
    """Who judges, by id and with commas between: the first that can be called and is of another family than the judged model."""
    judge_budget_usd_per_day: float = Field(1.0, ge=0, le=1_000_000, allow_inf_nan=False)

    catalog_file: Path | None = None
    """Models that replace or extend those that ship."""
    rules_file: Path | None = None
    """Pinned rules: for their task types they are followed instead of what is learned."""
    holdback_share: float = Field(0.0, ge=0, le=0.5, allow_inf_nan=False)
    """Share of the episodes (outside any, of the decisions) that ``baseline_model`` answers, drawn at random, to measure the lift."""
    baseline_model: str | None = Field(None, min_length=3, max_length=200)
    """What the held-back share gets; where it is not eligible, the best expected utility."""
    fallback_model: str | None = Field(None, min_length=3, max_length=200)
    """Answers where no model is eligible; None = the catalogue's choice."""

    log_retention_days: float | None = Field(None, gt=0, le=36_500, allow_inf_nan=False)
    """How long decisions and what belongs to them are kept; what was learned from them stays. None = for ever."""
    outage: Literal["strict", "degraded"] = "strict"
    """Where the database is away. strict: 503; degraded: routing goes on, and its decisions are not logged and say so."""
    outage_max_s: Positive = 300.0
    """For how long degraded service goes on."""
    write_queue_max: int = Field(10_000, ge=1, le=1_000_000)
    """Writes waiting for the database; above it callers get 503 with Retry-After."""
    write_group_max: int = Field(256, ge=1, le=10_000)
    """Writes per commit."""
    write_linger_s: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    """How long a commit waits for company."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    otel: bool = False
    """Tell an OpenTelemetry collector of every provider call; the ``OTEL_*`` variables say which (extra ``otel``)."""
    store_text: bool = False
    """Keep feedback comments. Prompts are never kept."""
    salt: SecretStr | None = Field(None, min_length=16)
    """Makes the draws repeatable for who knows it and unpredictable for others; None = fresh at every start."""

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if not url.startswith(_SCHEMES):
            raise PydanticCustomError("database", "must start with sqlite:///, postgresql:// or memory://")
        return url

    @field_validator("provider_urls")
    @classmethod
    def _web_addresses(cls, urls: dict[str, str]) -> dict[str, str]:
        if bad := sorted(name for name, url in urls.items() if not re.match(r"https?://[^/\s]", url)):
            raise PydanticCustomError("url", "the addresses of {names} must start with http:// or https://", {"names": ", ".join(bad)})
        return urls

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.weight_quality + self.weight_cost + self.weight_latency == 0:
            raise PydanticCustomError("weight_quality", "weight_quality, weight_cost and weight_latency must not all be 0")
        return self

    @model_validator(mode="after")
    def _somebody_judges(self) -> Self:
        if self.judge_share and not self.judge_models:
            raise PydanticCustomError("judge_models", "judge_models must name who judges where judge_share is above 0")
        return self

    @model_validator(mode="after")
    def _a_day_pays_a_request(self) -> Self:
        day, request = self.budget_usd_per_day, self.budget_usd_per_request
        if day is not None and request is not None and request > day:
            raise PydanticCustomError("budget_usd_per_day", "budget_usd_per_day must not be below budget_usd_per_request")
        return self

    @property
    def judges(self) -> tuple[str, ...]:
        """The models that judge, in their order."""
        return tuple(name.strip() for name in self.judge_models.split(",") if name.strip())

    @property
    def trusted(self) -> tuple[str, ...]:
        """The trusted judges, in the order of their names."""
        return tuple(sorted({name.strip() for name in self.trusted_judges.split(",")} - {""}))

    @model_validator(mode="after")
    def _some_baseline(self) -> Self:
        if self.holdback_share and self.baseline_model is None:
            raise PydanticCustomError("baseline_model", "holdback_share needs one: set it to a model's id")
        return self

    @property
    def in_memory(self) -> bool:
        """True: nothing is written to disk."""
        return self.database_url.startswith("memory://")

    def require_disk(self, lacks: str) -> None:
        """Raise ``ConfigurationInvalid`` for a store in memory; ``lacks`` says why it will not do, e.g. "keeps no keys"."""
        if self.in_memory:
            raise ConfigurationInvalid(f"a store in memory {lacks}", field="database_url", remedy="name a file: sqlite:///pointsman.db")

    @property
    def shared(self) -> bool:
        """True: other services may write to the same log."""
        return self.database_url.startswith("postgres")

    @property
    def chosen_providers(self) -> frozenset[str] | None:
        """The providers to call; None: all that have an SDK and a key."""
        return None if self.providers is None else frozenset(name.strip() for name in self.providers.split(","))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over variables, variables over ``.env``, ``.env`` over the TOML file."""
        sources = [init_settings, env_settings, dotenv_settings, file_secret_settings]
        if path := os.environ.get(CONFIG_VARIABLE):
            sources.append(TomlConfigSettingsSource(settings_cls, path))
        return tuple(sources)


def load(**overrides: Any) -> Settings:
    """Read the settings; arguments win over every other source.

    Raises ``ConfigurationInvalid`` naming the field and the remedy, never the value.
    """
    settings, problems = examine(**overrides)
    if settings is None or problems:
        raise problems[0]
    return settings


def examine(**overrides: Any) -> tuple[Settings | None, list[ConfigurationInvalid]]:
    """The settings as far as they can be read, and everything that is wrong with them."""
    try:
        file = _read_toml(Path(path)) if (path := os.environ.get(CONFIG_VARIABLE)) else {}
    except ConfigurationInvalid as exc:
        return None, [exc]
    problems = [*_unknown_names(overrides, "the arguments"), *_unknown_names(file, CONFIG_VARIABLE)]
    if any(name not in Settings.model_fields for name in overrides):
        return None, problems  # a slip of ours, not of the operator's
    try:
        settings = Settings(**overrides)
    except ValidationError as exc:
        return None, problems + [_invalid(error) for error in exc.errors(include_url=False, include_context=False, include_input=False)]
    except SettingsError as exc:  # names the field, and nothing of the value
        field = next((name for name in _EXAMPLES if f'"{name}"' in str(exc)), "policy_parameters")
        remedy = f"write it as a JSON object, e.g. {PREFIX}{field.upper()}='{_EXAMPLES[field]}'"
        return None, [*problems, ConfigurationInvalid("a structured setting is not valid JSON", field=field, remedy=remedy)]
    return settings, problems


def sources(settings: Settings, overrides: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Where each setting's value comes from: an argument, a variable, ``.env``, the TOML file, or the default."""
    from dotenv import dotenv_values  # here: only a report needs it

    variables = {name.upper() for name in environ}
    noted = {name.upper() for name in dotenv_values(".env")}
    path = environ.get(CONFIG_VARIABLE)
    file = _read_toml(Path(path)) if path else {}
    found: dict[str, str] = {}
    for name in type(settings).model_fields:
        variable = PREFIX + name.upper()
        if name in overrides:
            found[name] = "argument"
        elif variable in variables:
            found[name] = variable
        elif variable in noted:
            found[name] = f".env ({variable})"
        else:
            found[name] = str(path) if name in file else "default"
    return found


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Names of ``POINTSMAN_*`` variables that set nothing: probably misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    return sorted(name for name in environ if name.startswith(PREFIX) and name.upper() not in known)


def suggestion(variable: str) -> str:
    """What to do about a variable that sets nothing."""
    close = get_close_matches(variable.upper(), [PREFIX + name.upper() for name in Settings.model_fields], n=1)
    return f"did you mean {close[0]}?" if close else "remove it; 'pointsman config check' lists the settings"


def _invalid(error: Mapping[str, Any]) -> ConfigurationInvalid:
    field = str(error["loc"][0] if error["loc"] else error["type"])  # what is wrong with several together has the name of one as its type
    message = error["msg"].removeprefix("Input ").removeprefix("Value ")
    return ConfigurationInvalid(
        f"setting {field}: {message}",
        field=field,
        remedy=f"correct {PREFIX}{field.upper()} (or {field} in the TOML file)",
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise ConfigurationInvalid(
            f"the file that {CONFIG_VARIABLE} names cannot be read ({exc.strerror})",
            field=CONFIG_VARIABLE,
            remedy=f"name a readable TOML file or unset {CONFIG_VARIABLE}",
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ConfigurationInvalid(
            f"the file that {CONFIG_VARIABLE} names is not valid TOML",
            field=CONFIG_VARIABLE,
            remedy='write one `name = value` per line, e.g. port = 8080 or database_url = "sqlite:///pointsman.db"',
        ) from None  # the parser's message quotes the line, which may hold a password


def _unknown_names(values: Mapping[str, Any], where: str) -> list[ConfigurationInvalid]:
    problems = []
    for name in values:
        if name not in Settings.model_fields:
            close = get_close_matches(name, Settings.model_fields, n=1)
            remedy = f"did you mean {close[0]}?" if close else "remove it; the settings are: " + ", ".join(Settings.model_fields)
            problems.append(ConfigurationInvalid(f"{where} has a setting that does not exist: {name}", field=name, remedy=remedy))
    return problems


def is_loopback(host: str) -> bool:
    """Only this machine reaches the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_to_others() -> ConfigurationInvalid:
    """Why a service without API keys does not listen where others reach it."""
    return ConfigurationInvalid(
        "no API keys are configured, so the service listens on loopback addresses only: anyone who reaches it may use it",
        field="host",
        remedy=f"make a key with 'pointsman keys create', or set {PREFIX}HOST to 127.0.0.1, ::1 or localhost",
    )
