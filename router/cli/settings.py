"""``pointsman config``: what is set, where it comes from, and what is wrong with it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.output import FAILED, print_error, print_json, print_line, print_table, print_warning, without_login

if TYPE_CHECKING:
    from router.config import Settings
    from router.errors import RouterError

app = typer.Typer(help="Show and check the settings.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps ``check`` a command of its own while it is the only one."""


@app.command()
def check(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the settings in force without secrets and where each comes from, the providers that can be called and what the others need,
    and every problem with its remedy. Exits with 2 on problems.
    """
    from router import config

    settings, found_invalid = config.examine()
    problems: list[RouterError] = list(found_invalid)
    shown: dict[str, dict[str, Any]] = {}
    providers: list[dict[str, Any]] = []
    if settings is not None:
        found = config.sources(settings, {}, os.environ)
        shown = {name: {"value": _shown(name, getattr(settings, name)), "source": found[name]} for name in type(settings).model_fields}
        problems += _deeper(settings)
        providers = _providers(settings, problems)
    overrides = _overrides(settings) if settings is not None and not problems else []
    strangers = {name: config.suggestion(name) for name in config.unknown_variables(os.environ)}
    if as_json:
        told = [{"message": exc.message, "field": exc.field, "remedy": exc.remedy} for exc in problems]
        unknown = [{"variable": name, "remedy": remedy} for name, remedy in strangers.items()]
        print_json(
            {
                "ok": not problems,
                "settings": shown,
                "run_time": overrides,
                "providers": providers,
                "problems": told,
                "unknown_variables": unknown,
            }
        )
    else:
        if shown:
            print_table("settings", ("setting", "value", "from"), [(n, _text(s["value"]), s["source"]) for n, s in shown.items()])
            print_line("Secrets are not shown. Variables win over .env, and .env over the file that POINTSMAN_CONFIG names.")
        for one in overrides:
            value = ", ".join(one["value"]) if one["kind"] == "pin" else one["value"]
            what = f"{one['kind']} {one['name']} = {value}"
            print_line(f"{what} was set at run time and stands over the setting {one['setting']} until it is lifted.")
        if providers:
            print_table("providers", ("provider", "models", "called", "note"), [_row(told) for told in providers], figures=(1,))
        for name, remedy in strangers.items():
            print_warning(f"{name} sets nothing: {remedy}")
        for exc in problems:
            print_error(exc.message, field=exc.field, remedy=exc.remedy)
        if shown and not problems:
            print_line("no problem found")
    if problems:
        raise typer.Exit(FAILED)


def _providers(settings: "Settings", problems: "list[RouterError]") -> list[dict[str, Any]]:
    """Who is called and what the others need, as the service finds them; a wish that cannot be met is a problem."""
    from router.errors import RouterError
    from router.parts import base_catalog
    from router.services.providers import survey

    try:
        found = survey(settings.chosen_providers, settings.provider_urls, os.environ)
        models = [model.provider for model in base_catalog(settings).active]
    except RouterError as exc:
        if all(exc.message != known.message for known in problems):
            problems.append(exc)
        return []
    return [
        {
            "provider": offer.name,
            "models": models.count(offer.name),
            "called": offer.remedy is None,
            "remedy": offer.remedy,
            "notice": offer.notice,
        }
        for offer in found
    ]


def _row(told: dict[str, Any]) -> tuple[str, str, str, str]:
    note = "; ".join(part for part in (told["remedy"], told["notice"]) if part)
    return told["provider"], str(told["models"]), "yes" if told["called"] else "no", note


def _shown(name: str, value: Any) -> Any:
    if name == "salt":
        return None if value is None else "set, not shown"
    if name == "database_url":
        return without_login(value)
    return str(value) if isinstance(value, Path) else value


def _text(value: Any) -> str:
    return "–" if value is None or value == {} else str(value).lower() if isinstance(value, bool) else str(value)


def _deeper(settings: "Settings") -> "list[RouterError]":
    """Problems that only show when the settings are used: the database, the catalogue, the policy."""
    from learning.errors import LearningError
    from learning.policies import make
    from router import config
    from router.errors import ConfigurationInvalid, RouterError
    from router.parts import base_catalog, pins
    from router.services.texts import projection
    from router.storage import schema

    found: list[RouterError] = []
    try:
        base_catalog(settings)
    except RouterError as exc:
        found.append(exc)
    try:
        pins(settings)
    except RouterError as exc:
        found.append(exc)
    try:
        make(settings.policy, **settings.policy_parameters)
    except LearningError as exc:
        found.append(ConfigurationInvalid(str(exc), field="policy", remedy="correct policy or policy_parameters"))
    try:
        projection(settings.text_features, field="text_features")
    except RouterError as exc:
        found.append(exc)
    try:
        if not config.is_loopback(settings.host) and not _has_keys(settings):
            found.append(config.open_to_others())
        if not settings.in_memory:
            state = schema.check(settings.database_url)
            if state.current is not None and not state.ready and not settings.migrate:
                remedy = "run 'pointsman db upgrade', or set POINTSMAN_MIGRATE=true"
                found.append(ConfigurationInvalid(f"the database is at revision {state.current}", field="migrate", remedy=remedy))
        if not any(isinstance(exc, ConfigurationInvalid) and exc.field == "catalog" for exc in found):
            found += _unknown_models(settings)
    except RouterError as exc:
        found.append(exc)
    return found


def _unknown_models(settings: "Settings") -> "list[RouterError]":
    """Settings that name a model which neither the catalogue nor the database has."""
    from router.cli.models import read_catalog
    from router.errors import ConfigurationInvalid

    named = [(field, getattr(settings, field)) for field in ("fallback_model", "safe_model", "baseline_model")]
    named += [("judge_models", judge) for judge in settings.judges]
    catalog = read_catalog(None)
    remedy = "name a model of 'pointsman models list', or add it there"
    return [
        ConfigurationInvalid("no model of the catalogue has this id", field=field, remedy=remedy)
        for field, model in named
        if model is not None and model not in catalog
    ]


def _overrides(settings: "Settings") -> list[dict[str, Any]]:
    """What was set at run time, and stands over the settings."""
    import asyncio
    import time

    from router.domain.budgets import SETTINGS
    from router.domain.overrides import BUDGET, PIN
    from router.services.overrides import OverrideService
    from router.storage import schema

    if settings.in_memory or not schema.check(settings.database_url).ready:
        return []
    from router.storage.sql import SqlStore

    store = SqlStore(settings.database_url)
    try:
        service = OverrideService(store, clock=time.time)
        asyncio.run(service.load())
        budgets = [(SETTINGS[name], one) for name, one in sorted(service.latest(BUDGET).items()) if name in SETTINGS]
        pins = [("rules_file", one) for _, one in sorted(service.latest(PIN).items())]
        return [
            {"kind": one.kind, "name": one.name, "value": one.value, "setting": setting, "at": one.at, "key_id": one.key_id}
            for setting, one in (*budgets, *pins)
            if one.value is not None
        ]
    finally:
        store.close()


def _has_keys(settings: "Settings") -> bool:
    from router.storage import schema

    if settings.in_memory or not schema.check(settings.database_url).ready:
        return False
    from router.storage.sql import SqlStore

    store = SqlStore(settings.database_url)
    try:
        return bool(store.keys())
    finally:
        store.close()
