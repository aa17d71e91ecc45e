"""A log of the first release: brought up to date, copied to PostgreSQL and back, and the same at every step."""

import gzip
from pathlib import Path

import pytest

from learning.learner import Learner
from router.domain.evidence import fold
from router.domain.overrides import Override
from router.errors import ConfigurationInvalid, StorageUnavailable
from router.ports import Store
from router.storage import copying, schema
from router.storage.sql import SqlStore
from tests.cli.conftest import Command, pointsman

__all__ = ["pointsman"]

FIRST_RELEASE = Path(__file__).with_name("first_release.db.gz")
"""Written by the service at revision 0001: 8 decisions, 8 outcomes, 10 revisions of 8 scores, a model, a key and what it drew."""


@pytest.fixture
def old(tmp_path: Path) -> str:
    file = tmp_path / "old.db"
    file.write_bytes(gzip.decompress(FIRST_RELEASE.read_bytes()))
    return f"sqlite:///{file}"


def story(store: Store) -> list[object]:
    """All that a store tells of itself."""
    learner = Learner()
    for event in store.read_log(0, 1000):
        fold(learner, event)
    snapshot = store.latest_snapshot(1)
    return [
        store.read_log(0, 1000), store.decisions(), store.models(), store.model_versions("acme/new"), store.keys(), store.drawn_budgets(),
        store.counts(), store.last_seq(), learner.digest(), snapshot, store.overrides(0),
    ]  # fmt: skip


def test_a_file_of_the_first_release_is_brought_up_to_date(old, make):
    assert schema.check(old).current == "0001"
    assert schema.upgrade(old).ready
    store = SqlStore(old)
    store.check()
    assert store.counts() == {"decisions": 8, "attempts": 0, "outcomes": 8, "cost_changes": 0, "feedback": 10}
    assert [event.seq for event in store.read_log(0, 100)] == list(range(1, 27))
    decided = store.decisions()[-1]
    assert [entry["score"] for entry in decided.feedback] == [0.0]
    assert [made.name for made in store.keys()]  # noqa: SIM118 == ["app"]
    assert [model.id for model in store.models()] == ["acme/new"]
    (again,) = store.commit([make.decision("new")])
    assert again.seq == 27
    store.close()


def test_a_log_goes_to_the_server_and_comes_back_whole(old, empty_postgres_url, tmp_path, make):
    schema.upgrade(old)
    source = SqlStore(old)
    source.add_overrides([Override("budget", "usd_per_day", 5.0, 1.0, None), Override("budget", "usd_per_day", None, 2.0, "key_1")])
    source.close()
    back = f"sqlite:///{tmp_path / 'back.db'}"
    copying.copy(old, empty_postgres_url)
    rows = copying.copy(empty_postgres_url, back)
    assert (rows["decisions"], rows["feedback"], rows["api_keys"], rows["key_spend"], rows["snapshots"]) == (8, 10, 1, 1, 1)
    stores = [SqlStore(url) for url in (old, empty_postgres_url, back)]
    first, *others = [story(store) for store in stores]
    assert others == [first, first]
    for store in stores:  # and each goes on where the log ended
        assert store.commit([make.decision("new"), make.feedback("f", first[1][0].decision.id)])[0].seq == 27
        store.save_model(store.models()[0], 5.0)
        assert len(store.model_versions("acme/new")) == 2
        store.add_overrides([Override("budget", "usd_per_day", 6.0, 3.0, None)])
        assert [one.value for one in store.overrides(0)] == [5.0, None, 6.0]
        store.close()


def test_a_copy_goes_into_an_empty_database_or_not_at_all(old, tmp_path, empty_postgres_url):
    target = f"sqlite:///{tmp_path / 'target.db'}"
    with pytest.raises(StorageUnavailable):
        copying.copy(old, target)  # the old one has to be upgraded first
    schema.upgrade(old)
    with pytest.raises(ConfigurationInvalid, match="same"):
        copying.copy(old, old)
    copying.copy(old, target)
    with pytest.raises(ConfigurationInvalid, match="not empty") as error:
        copying.copy(old, target)
    assert error.value.field == "to"


def test_the_command_says_what_was_copied(old, tmp_path, pointsman: Command):
    schema.upgrade(old)
    told = pointsman("db", "copy", "--from", old, "--to", f"sqlite:///{tmp_path / 'copy.db'}", "--json").json
    assert told["rows"]["decisions"] == 8
