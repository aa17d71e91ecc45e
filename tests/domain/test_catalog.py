import dataclasses
import json
import math
from datetime import date
from pathlib import Path

import pytest

from router.domain.catalog import Catalog, load_file, load_shipped, model_from
from router.domain.models import Capability, Modality, Model, Price, SpeedFacts
from router.errors import ConfigurationInvalid, ModelNotFound, TaskInvalid

SHIPPED = load_shipped()

# DESIGN section 4: provider and a part of the name for every model that must ship
PROMISED = """
replicate codellama-70b|replicate wizardcoder|replicate wizardmath|replicate llemma|replicate mixtral-8x22b|replicate nous-hermes-2
replicate claude-3.5-sonnet|replicate llava|replicate cogvlm
deepinfra CodeLlama-70b|deepinfra starcoder2-15b|deepinfra deepseek-coder-33b|deepinfra deepseek-math-7b|deepinfra MAmmoTH-70B
deepinfra Mistral-Large|deepinfra Yi-34B|deepinfra Llama-3.1-8B|deepinfra Llama-3.1-70B|deepinfra Llama-3.1-405B|deepinfra Qwen2.5-72B
deepinfra TinyLlama-1.1B|deepinfra phi-2|deepinfra gemma-2b|deepinfra gemma-7b|deepinfra Mixtral-8x7B
cerebras llama3.1-8b|cerebras llama3.1-70b|google gemini-2.0-flash|google gemini-1.5-pro|google gemini-pro-vision
anthropic claude-3-haiku|anthropic claude-3-5-sonnet|anthropic claude-3-opus|openai gpt-4-turbo|openai gpt-4
"""


def simple(model_id: str = "acme/one", **facts: object) -> Model:
    provider, _, name = model_id.partition("/")
    return dataclasses.replace(Model(model_id, provider, name, family="one", context_window=8_192), **facts)  # type: ignore[arg-type]


class TestShipped:
    @pytest.mark.parametrize("promise", [item for line in PROMISED.split("\n") for item in line.split("|") if item])
    def test_every_promised_model_is_there(self, promise: str) -> None:
        provider, part = promise.split(" ")
        assert [model for model in SHIPPED if model.provider == provider and part in model.name]

    def test_every_family_that_was_withdrawn_has_a_successor(self) -> None:
        for provider in ("openai", "anthropic", "google", "cerebras", "deepinfra"):
            assert any(model.provider == provider and "legacy" not in model.tags for model in SHIPPED)

    @pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.id)
    def test_every_fact_has_a_source_and_a_date(self, model: Model) -> None:
        assert model.source
        assert date.fromisoformat(model.checked) <= date(2026, 11, 23)
        assert model.version == 1
        assert not model.retired
        if model.price is not None:
            assert model.price.source
            assert date.fromisoformat(model.price.checked)
        if model.speed is not None:
            assert model.speed.source
            assert date.fromisoformat(model.speed.checked)

    @pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.id)
    def test_facts_are_plausible(self, model: Model) -> None:
        assert model.provider in {"openai", "anthropic", "google", "cerebras", "deepinfra", "replicate"}
        assert 2_048 <= model.context_window <= 2_097_152
        if model.price is not None:  # none of these is free, so that a zero would be an unknown price written down wrongly
            assert 0 < model.price.input_usd_per_mtok <= model.price.output_usd_per_mtok <= 100
            cached = model.price.cached_input_usd_per_mtok
            assert cached is None or 0 < cached <= model.price.input_usd_per_mtok
        if model.speed is not None:
            assert 0.05 <= model.speed.ttft_s <= 5
            assert 10 <= model.speed.output_tokens_per_s <= 5_000

    def test_ids_are_in_order_and_unique(self) -> None:
        ids = [model.id for model in SHIPPED]
        assert ids == sorted(set(ids))

    def test_known_facts(self) -> None:
        assert SHIPPED.get("google/gemini-1.5-pro").context_window == 2_097_152
        assert SHIPPED.get("openai/gpt-4").price == Price(30.0, 60.0, source="litellm 1.109.1, gpt-4", checked="2026-11-23")
        assert SHIPPED.get("replicate/cjwbw/cogvlm").price is None
        assert Modality.IMAGE in SHIPPED.get("replicate/yorickvp/llava-v1.6-34b").modalities
        assert SHIPPED.get("openai/gpt-4o").capabilities >= {Capability.TOOLS, Capability.JSON, Capability.STREAMING}


class TestChanges:
    def test_a_new_model_is_added_in_order_as_version_one(self) -> None:
        catalog = Catalog((simple("acme/b"),)).with_model(simple("acme/a", version=9))
        assert [model.id for model in catalog] == ["acme/a", "acme/b"]
        assert catalog.get("acme/a").version == 1
        assert "acme/a" in catalog
        assert len(catalog) == 2

    def test_a_change_counts_the_version_up_and_leaves_the_old_value_alone(self) -> None:
        before = Catalog((simple(),))
        after = before.with_model(simple(price=Price(1.0, 2.0)))
        assert after.get("acme/one").version == 2
        assert before.get("acme/one").price is None
        assert after.version != before.version

    def test_the_same_facts_change_nothing(self) -> None:
        catalog = Catalog((simple(),)).with_model(simple(price=Price(1.0, 2.0)))
        assert catalog.with_model(simple(price=Price(1.0, 2.0))) is catalog

    def test_retire_keeps_the_model_listed_and_bringing_it_back_works(self) -> None:
        catalog = Catalog((simple("acme/a"), simple("acme/b"))).retire("acme/a")
        assert [model.id for model in catalog.active] == ["acme/b"]
        assert catalog.get("acme/a").retired
        assert catalog.retire("acme/a") is catalog
        again = catalog.with_model(simple("acme/a"))
        assert [model.id for model in again.active] == ["acme/a", "acme/b"]
        assert again.get("acme/a").version == 3

    def test_merged_keeps_the_versions_it_is_given(self) -> None:
        assert Catalog((simple(),)).merged((simple(version=7),)).get("acme/one").version == 7

    @pytest.mark.parametrize(
        "fact",
        [
            {"context_window": 4_096},
            {"max_output_tokens": 100},
            {"family": "two"},
            {"modalities": frozenset({Modality.TEXT, Modality.IMAGE})},
            {"capabilities": frozenset({Capability.TOOLS})},
            {"price": Price(1.0, 2.0)},
            {"speed": SpeedFacts(0.5, 80.0)},
            {"source": "elsewhere"},
            {"retired": True},
            {"tags": frozenset({"legacy"})},
        ],
    )
    def test_the_version_hash_sees_every_fact(self, fact: dict[str, object]) -> None:
        assert Catalog((simple(),)).version != Catalog((simple(**fact),)).version

    def test_the_version_hash_is_short_and_does_not_depend_on_the_order_given(self) -> None:
        one, two = simple("acme/a"), simple("acme/b")
        assert Catalog((one, two)).version == Catalog((two, one)).version
        assert len(SHIPPED.version) == 12
        assert load_shipped().version == SHIPPED.version

    def test_an_unknown_id_is_refused_without_repeating_it(self) -> None:
        with pytest.raises(ModelNotFound) as refused:
            SHIPPED.get("secret/thing")
        assert "secret" not in str(refused.value)
        assert refused.value.remedy
        with pytest.raises(ModelNotFound):
            SHIPPED.retire("secret/thing")

    @pytest.mark.parametrize(
        ("facts", "field"),
        [
            ({"context_window": 0}, "context_window"),
            ({"context_window": 4096.0}, "context_window"),
            ({"context_window": True}, "context_window"),
            ({"max_output_tokens": -1}, "max_output_tokens"),
            ({"max_output_tokens": 10_000}, "max_output_tokens"),
            ({"family": " "}, "family"),
            ({"modalities": frozenset({Modality.IMAGE})}, "modalities"),
            ({"price": Price(-1.0, 1.0)}, "price.input"),
            ({"price": Price(1.0, math.nan)}, "price.output"),
            ({"price": Price(math.inf, 1.0)}, "price.input"),
            ({"price": Price(1.0, 1.0, -0.1)}, "price.cached_input"),
            ({"speed": SpeedFacts(math.nan, 1.0)}, "speed.ttft_s"),
            ({"speed": SpeedFacts(0.1, 0.0)}, "speed.output_tokens_per_s"),
            ({"name": "other"}, "id"),
            ({"version": 0}, "version"),
        ],
    )
    def test_an_unusable_fact_is_refused_with_field_and_remedy(self, facts: dict[str, object], field: str) -> None:
        with pytest.raises(TaskInvalid) as refused:
            Catalog((simple(**facts),))
        assert refused.value.field == field
        assert refused.value.remedy

    @pytest.mark.parametrize("model_id", ["", "noslash", "/x", "acme/", "ac me/x", "acme/a b", "ACME/x", "a/" + "x" * 200])
    def test_an_unusable_id_is_refused(self, model_id: str) -> None:
        with pytest.raises(TaskInvalid) as refused:
            Catalog((simple(model_id),))
        assert refused.value.field == "id"

    def test_an_id_twice_is_refused(self) -> None:
        with pytest.raises(TaskInvalid, match="twice"):
            Catalog((simple(), simple()))


class TestFiles:
    def test_an_operators_toml_adds_and_changes_key_by_key(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text(
            """
            checked = "2026-11-01"
            [[models]]
            id = "openai/gpt-4o"
            price = { input = 2, output = 8, source = "our contract" }
            [[models]]
            id = "openai/gpt-4"
            retired = true
            [[models]]
            id = "acme/new"
            family = "acme"
            context_window = 32768
            capabilities = ["tools"]
            """
        )
        catalog = load_file(path)
        changed, shipped = catalog.get("openai/gpt-4o"), SHIPPED.get("openai/gpt-4o")
        assert changed.price == Price(2.0, 8.0, source="our contract", checked="2026-11-01")
        assert changed.context_window == shipped.context_window
        assert changed.version == 2
        assert catalog.get("openai/gpt-4").retired
        assert catalog.get("acme/new").price is None
        assert catalog.get("acme/new").checked == "2026-11-01"
        assert len(catalog) == len(SHIPPED) + 1

    def test_json_reads_alike_and_a_price_can_become_unknown(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"models": [{"id": "openai/gpt-4o", "price": False}]}))
        assert load_file(path).get("openai/gpt-4o").price is None
        assert load_file(path, base=Catalog((simple("openai/gpt-4o", price=Price(1.0, 1.0)),))).get("openai/gpt-4o").price is None

    def test_a_file_that_says_what_is_known_changes_no_version(self, tmp_path: Path) -> None:
        path = tmp_path / "same.json"
        path.write_text(json.dumps({"models": [{"id": "openai/gpt-4o", "family": "gpt-4o"}]}))
        assert load_file(path) == SHIPPED

    @pytest.mark.parametrize(
        ("text", "field"),
        [
            ("[[models]]\nid = 'acme/x'\nfamily = 'x'", "context_window"),
            ("[[models]]\nid = 'acme/x'\ncontext_window = 5", "family"),
            ("[[models]]\nid = 'nope'\nfamily = 'x'\ncontext_window = 5", "id"),
            ("[[models]]\nid = 'openai/gpt-4o'\nwindow = 5", "window"),
            ("[[models]]\nid = 'openai/gpt-4o'\ncontext_window = '5'", "context_window"),
            ("[[models]]\nid = 'openai/gpt-4o'\nretired = 'yes'", "retired"),
            ("[[models]]\nid = 'openai/gpt-4o'\ncapabilities = ['flying']", "capabilities"),
            ("[[models]]\nid = 'openai/gpt-4o'\nmodalities = 'text'", "modalities"),
            ("[[models]]\nid = 'openai/gpt-4o'\ntags = [1]", "tags"),
            ("[[models]]\nid = 'openai/gpt-4o'\nprice = 3", "price"),
            ("[[models]]\nid = 'openai/gpt-4o'\nprice = { input = 3 }", "price.output"),
            ("[[models]]\nid = 'openai/gpt-4o'\nprice = { input = '3', output = 4 }", "price.input"),
            ("[[models]]\nid = 'openai/gpt-4o'\nprice = { input = nan, output = 4 }", "price.input"),
            ("[[models]]\nid = 'openai/gpt-4o'\nprice = { input = 3, output = 4, per = 'x' }", "price.per"),
            ("[[models]]\nid = 'openai/gpt-4o'\nspeed = { ttft_s = 1 }", "speed.output_tokens_per_s"),
            ("[[models]]\nid = 'openai/gpt-4o'\nsource = 4", "source"),
            ("[[models]]\nid = 'openai/gpt-4o'\n[[models]]\nid = 'openai/gpt-4o'", "id"),
            ("models = 3", "models"),
            ("model = []", "model"),
            ("not toml", "catalog"),
        ],
    )
    def test_an_unusable_file_names_the_field_and_the_remedy(self, tmp_path: Path, text: str, field: str) -> None:
        path = tmp_path / "bad.toml"
        path.write_text(text)
        with pytest.raises(ConfigurationInvalid) as refused:
            load_file(path)
        assert refused.value.field == field
        assert refused.value.remedy
        assert str(tmp_path) not in str(refused.value)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationInvalid, match="cannot be read"):
            load_file(tmp_path / "none.toml")

    def test_an_entry_over_a_base_names_no_id(self) -> None:
        assert model_from({"context_window": 10}, base=simple()).context_window == 10
