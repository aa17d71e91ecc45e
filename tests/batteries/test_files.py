"""Battery files: those that ship, and what is said of those that cannot be used."""

import random
import re
from pathlib import Path

import pytest
import yaml

from router.batteries.files import load, parse, shipped
from router.batteries.generators.registry import GENERATORS
from router.domain.battery import pairs, units
from router.domain.catalog import load_shipped
from router.errors import ConfigurationInvalid

SMALL = {
    "name": "small",
    "models": ["google/gemini-2.0-flash", "deepinfra/microsoft/phi-2"],
    "sections": [
        {
            "task_type": "quick_qa",
            "judges": [{"judge": "exact"}],
            "cases": [{"id": "capital", "prompt": "The capital of Peru?", "reference": "Lima", "expect": {"expected": ["Lima"]}}],
        }
    ],
}


def changed(**changes: object) -> dict[str, object]:
    return SMALL | changes


def section(**changes: object) -> dict[str, object]:
    return changed(sections=[SMALL["sections"][0] | changes])


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_makes_different_cases_and_the_same_for_the_same_seed(kind):
    first = GENERATORS[kind](random.Random(3), 24)
    assert len(first) == len({case.id for case in first}) == 24
    assert len({(case.prompt, case.image) for case in first}) == 24
    assert first == GENERATORS[kind](random.Random(3), 24)
    assert first != GENERATORS[kind](random.Random(4), 24)
    assert all(case.wrong is not None and case.wrong != case.reference for case in first)


def test_the_batteries_that_ship_ask_enough_of_models_in_the_catalogue():
    catalog = load_shipped()
    assert len(shipped()) == 7
    for name in shipped():
        battery = load(name)
        assert battery.name == name
        assert all(len(section.cases) >= 20 for section in battery.sections)
        assert all(model in catalog for model in battery.models)
    assert len(load("9.3-classification-1000").sections[0].cases) == 1000
    orchestration = {section.task_type: section.agents for section in load("8.6-orchestration-28").sections}
    assert sum(orchestration.values()) == 28
    assert sum(section.agents for section in load("8.7-orchestration-10").sections) == 10


def test_specialists_play_what_they_are_made_for():
    battery = load("matrix-5x6")
    skipped = {(pair.task_type, pair.model.rpartition("/")[2]): pair.skipped for pair in pairs(battery, load_shipped(), {}) if pair.skipped}
    assert {task for task, model in skipped if model == "CodeLlama-70b-Instruct-hf"} == {
        "math_reasoning", "creative_writing", "classification", "critical_analysis"
    }  # fmt: skip
    assert skipped["code_generation", "deepseek-math-7b-instruct"] == "a specialist of math"
    assert len(pairs(battery, load_shipped(), {})) == 30
    assert len(skipped) == 8


def test_models_that_cannot_do_a_task_are_skipped_with_the_reason():
    battery = load("9.4-image-description")
    (blind, *_) = pairs(
        parse(changed(sections=[yaml.safe_load(shipped()[battery.name].read_text())["sections"][0]]), Path()), load_shipped(), {}
    )
    assert blind.skipped is None  # Gemini reads pictures
    battery = parse(section(needs=["tools"]), Path())
    _, phi = pairs(battery, load_shipped(), {"google/gemini-2.0-flash": "set GEMINI_API_KEY"})
    assert phi.skipped == "it does not offer tools"
    gemini, _ = pairs(battery, load_shipped(), {"google/gemini-2.0-flash": "set GEMINI_API_KEY"})
    assert gemini.skipped == "the provider cannot be called: set GEMINI_API_KEY"
    assert units(battery, [gemini, phi]) == []


def test_units_come_case_by_case_so_that_answers_can_be_compared():
    battery = load("8.7-orchestration-10")
    found = units(battery, pairs(battery, load_shipped(), {}))
    assert len(found) == 104 * 3
    assert {(u.task_type, u.case_id) for u in found[:3]} == {(found[0].task_type, found[0].case_id)}
    assert {u.model for u in found[:3]} == set(battery.models)


def test_the_digest_tells_what_is_asked_and_not_how_fast():
    one = parse(SMALL, Path())
    assert one.digest == parse(changed(limits={"google": {"concurrency": 9}}, title="other"), Path()).digest
    assert one.digest != parse(changed(repetitions=2), Path()).digest
    assert one.digest != parse(section(system="Be short."), Path()).digest


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ([], "battery"),
        (changed(colour=1), "battery.colour"),
        (changed(name=""), "battery.name"),
        (changed(models=[]), "models"),
        (changed(models=["a/b", "a/b"]), "models"),
        (changed(baseline="openai/gpt-4"), "baseline"),
        (changed(repetitions=0), "repetitions"),
        (changed(repetitions="twice"), "battery.repetitions"),
        (changed(temperature=5), "temperature"),
        (changed(limits={"google": {"concurrency": 0}}), "limits.google.concurrency"),
        (changed(sections=[]), "sections"),
        (section(cases=[]), "sections[0].cases"),
        (section(generate={"kind": "novels", "count": 3}), "sections[0].generate.kind"),
        (section(generate={"kind": "sums", "count": 0}), "sections[0].generate.count"),
        (section(judges=[{"judge": "exact", "metric": "style"}]), "sections[0].judges"),
        (section(needs=["wings"]), "sections[0].needs"),
        (section(cases=[{"id": "a", "prompt": "b", "reference": "c", "image": "none.png"}]), "sections[0].cases[0].image"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_names_the_field_and_the_remedy(raw, field):
    with pytest.raises(ConfigurationInvalid) as error:
        parse(raw, Path())
    assert error.value.field == field
    assert error.value.remedy


def test_a_file_that_is_no_yaml_names_the_line(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("name: x\nmodels: [a, b\n")
    with pytest.raises(ConfigurationInvalid) as error:
        load(str(file))
    assert error.value.field == "line 3"
    with pytest.raises(ConfigurationInvalid, match="cannot be read") as missing:
        load("no-such-battery")
    assert "9.1-code-generation" in missing.value.remedy


def test_pictures_are_read_from_beside_the_file(tmp_path):
    (tmp_path / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    battery = parse(section(cases=[{"id": "a", "prompt": "b", "reference": "c", "image": "dot.png"}]), tmp_path)
    assert battery.sections[0].cases[0].image == "data:image/png;base64,iVBORw0KGgo="


def test_the_battery_in_the_readme_can_be_used():
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (block,) = [part for part in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if part.startswith("name: capitals")]
    battery = parse(yaml.safe_load(block), Path())
    assert all(model in load_shipped() for model in battery.models)
    assert units(battery, pairs(battery, load_shipped(), {}))
