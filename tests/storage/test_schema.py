"""Migrations build exactly what the tables say, from anywhere to anywhere."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from router.errors import ConfigurationInvalid, SchemaTooNew, StorageUnavailable
from router.storage import schema
from router.storage.engine import open_writer
from router.storage.sql import SqlStore
from router.storage.tables import metadata

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def definitions(file: Path) -> dict[str, str]:
    connection = sqlite3.connect(file)
    try:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"))
    finally:
        connection.close()


def test_migrations_and_tables_describe_the_same_database(url):
    schema.upgrade(url)
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
            assert compare_metadata(context, metadata) == []
            migrated = {t: {i["name"] for i in inspect(connection).get_indexes(t)} for t in metadata.tables}
    finally:
        engine.dispose()
    assert migrated == {name: {index.name for index in table.indexes} for name, table in metadata.tables.items()}


def test_the_known_revisions_are_those_in_the_folder(url):
    engine = open_writer(url, "normal")
    try:
        with engine.connect() as connection:
            scripts = ScriptDirectory.from_config(schema.config(connection))
        assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == schema.REVISIONS
    finally:
        engine.dispose()


def test_up_down_up(url, file):
    schema.upgrade(url)
    first = definitions(file)
    engine = open_writer(url, "normal")
    try:
        with engine.begin() as connection:
            command.downgrade(schema.config(connection), "base")
        assert tables(url) == {"alembic_version"}
        assert schema.check(url) == schema.SchemaState(None)
    finally:
        engine.dispose()
    assert schema.upgrade(url).ready
    assert definitions(file) == first


def test_upgrading_twice_changes_nothing(url):
    assert schema.upgrade(url) == schema.upgrade(url) == schema.SchemaState(schema.REVISIONS[-1], schema.REVISIONS[-1])


def test_checking_creates_nothing(url, file):
    revision = schema.check(url)
    assert (revision.current, revision.head, revision.ready) == (None, schema.REVISIONS[-1], False)
    assert not file.exists()


def test_a_database_of_a_newer_release_is_left_alone(url, file):
    schema.upgrade(url)
    connection = sqlite3.connect(file)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    store = SqlStore(url)
    for refused in (lambda: schema.check(url), lambda: schema.upgrade(url), store.check):
        with pytest.raises(SchemaTooNew, match="9999") as error:
            refused()
        assert error.value.remedy
    store.close()


def test_a_store_that_was_not_migrated_says_what_to_do(url):
    store = SqlStore(url)
    with pytest.raises(StorageUnavailable) as error:
        store.check()
    assert "pointsman db upgrade" in error.value.remedy
    store.close()


def test_a_failing_migration_leaves_the_database_as_it_was(url, file):
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE snapshots (mine TEXT)")  # the last table of the migration is in the way
    connection.close()
    before = definitions(file)
    with pytest.raises(StorageUnavailable):
        schema.upgrade(url)
    assert definitions(file) == before


@pytest.mark.parametrize("bad", ["sqlite://", "sqlite:///:memory:", "mysql://user:secret@host/db", "nonsense"])
def test_a_database_that_cannot_be_used_is_named_without_its_password(bad):
    for use in (schema.check, schema.upgrade, SqlStore):
        with pytest.raises(ConfigurationInvalid) as error:
            use(bad)
        assert error.value.field == "database_url"
        assert "sqlite:///" in error.value.remedy
        assert "secret" not in str(error.value)


def test_serving_does_not_load_alembic(url):
    schema.upgrade(url)
    code = (
        "import sys; from router.storage import schema, writer; from router.storage.sql import SqlStore;"
        f"schema.upgrade({url!r}); s = SqlStore({url!r}); s.check(); s.close();"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_an_installed_package_brings_its_migrations(url, tmp_path):
    site = tmp_path / "site"
    shutil.copytree(ROOT / "router", site / "router", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "migrations", site / "router" / "storage" / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    code = f"from router.storage import schema; assert schema.upgrade({url!r}).ready; print(schema.migrations())"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == str(site / "router" / "storage" / "migrations"), run.stderr
    assert schema.check(url).ready
