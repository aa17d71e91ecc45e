"""Settings come from variables, .env and TOML; a bad one names its field and remedy and never its value."""

from pathlib import Path

import pytest

from router import config
from router.errors import ConfigurationInvalid

MARKER = "hunter2secret"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in config.Settings.model_fields:
        monkeypatch.delenv(config.PREFIX + name.upper(), raising=False)
    monkeypatch.delenv(config.CONFIG_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


def refused(**overrides: object) -> ConfigurationInvalid:
    with pytest.raises(ConfigurationInvalid) as caught:
        config.load(**overrides)
    assert caught.value.remedy
    assert MARKER not in f"{caught.value.message} {caught.value.remedy}"
    return caught.value


def test_defaults_are_safe() -> None:
    settings = config.load()
    assert (settings.host, settings.port, settings.durability) == ("127.0.0.1", 8080, "full")
    assert not settings.store_text


def test_sources_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "pointsman.toml"
    file.write_text('port = 1001\nweight_cost = 0.5\nhalf_life_decisions = 500\ndurability = "normal"\n')
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(file))
    (tmp_path / ".env").write_text("POINTSMAN_PORT=1002\nPOINTSMAN_WEIGHT_COST=0.6\nOTHER_PROGRAM=1\n")
    monkeypatch.setenv("POINTSMAN_PORT", "1003")
    settings = config.load(write_group_max=7)
    assert (settings.port, settings.weight_cost, settings.half_life_decisions, settings.write_group_max) == (1003, 0.6, 500, 7)
    assert settings.durability == "normal"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", MARKER),
        ("port", 0),
        ("durability", MARKER),
        ("database_url", f"mysql://root:{MARKER}@db/x"),
        ("cost_reference_usd", 0),
        ("latency_reference_s", float("nan")),
        ("weight_quality", float("inf")),
        ("policy_parameters", {"epsilon": float("nan")}),
        ("half_life_decisions", -1),
        ("max_body_bytes", 1),
        ("write_queue_max", 0),
        ("log_level", MARKER),
        ("salt", "short"),
    ],
)
def test_bad_value_names_its_field(field: str, value: object) -> None:
    assert refused(**{field: value}).field == field


def test_all_weights_zero_is_refused() -> None:
    refused(weight_quality=0, weight_cost=0, weight_latency=0)


def test_misspelt_setting_gets_a_suggestion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "pointsman.toml"
    file.write_text("fallbak_model = 'x/y'\n")
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(file))
    error = refused()
    assert error.field == "fallbak_model"
    assert error.remedy == "did you mean fallback_model?"
    assert config.unknown_variables({"POINTSMAN_PROT": "1", "POINTSMAN_PORT": "1", "PATH": ""}) == ["POINTSMAN_PROT"]


@pytest.mark.parametrize("content", [None, f"port = = {MARKER}", "\udcff"])
def test_unreadable_file_is_refused(content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "pointsman.toml"
    if content is not None:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(file))
    assert refused().field == config.CONFIG_VARIABLE


def test_malformed_json_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTSMAN_POLICY_PARAMETERS", f"{{{MARKER}")
    assert refused().field == "policy_parameters"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert config.is_loopback(config.load(host=host).host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "localhost.example.com", "example.com", ""])
def test_other_hosts_need_keys(host: str) -> None:
    assert not config.is_loopback(config.load(host=host).host)
    error = config.open_to_others()
    assert error.field == "host"
    assert "no API keys are configured" in error.message


def test_secrets_stay_out_of_the_representation() -> None:
    settings = config.load(database_url=f"sqlite://u:{MARKER}@h/d", salt=MARKER * 2)
    assert MARKER not in repr(settings)
    assert MARKER not in str(settings)


def test_a_day_must_pay_for_a_request() -> None:
    assert refused(budget_usd_per_day=0.01, budget_usd_per_request=0.02).field == "budget_usd_per_day"
    assert config.load(budget_usd_per_day=0.02, budget_usd_per_request=0.02).budget_exhausted == "cheapest"
    assert refused(budget_usd_per_day=0.0).field == "budget_usd_per_day"
    assert refused(text_features="all").field == "text_features"


def test_settings_that_do_not_go_together_are_refused_by_the_name_of_one() -> None:
    assert refused(weight_quality=0, weight_cost=0, weight_latency=0).field == "weight_quality"
    assert refused(judge_share=0.1).field == "judge_models"
    alone = refused(holdback_share=0.1)
    assert alone.field == "baseline_model"
    assert "POINTSMAN_BASELINE_MODEL" in (alone.remedy or "")


def test_a_structured_setting_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("provider_urls", "policy_parameters"):
        monkeypatch.setenv(config.PREFIX + name.upper(), f"{{{MARKER}")
        told = refused()
        assert (told.field, f"POINTSMAN_{name.upper()}=" in (told.remedy or "")) == (name, True)
        monkeypatch.delenv(config.PREFIX + name.upper())


@pytest.mark.parametrize("url", ["", "ftp://host/v1", "http://", "host:8000/v1", f"//user:{MARKER}@host"])
def test_providers_are_called_over_http(url: str) -> None:
    told = refused(provider_urls={"openai": url, "own": "http://127.0.0.1:9/v1"})
    assert (told.field, "openai" in told.message, "own" in told.message) == ("provider_urls", True, False)
