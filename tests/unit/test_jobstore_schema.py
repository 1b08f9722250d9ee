import json
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

from haulier.jobstore import migrations, rows, tables
from haulier.jobstore.sqlite import writing_engine
from haulier.testing.suites.jobstore import a_chunk, a_job


def schema(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").scalars()
        return {" ".join(sql.split()) for sql in found if "alembic_version" not in sql}


@pytest.fixture
def migrated() -> Engine:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrations.migrate(connection, "memory")
    return engine


def test_the_steps_lead_to_the_tables(migrated: Engine) -> None:
    made = create_engine("sqlite://")
    tables.metadata.create_all(made)
    assert schema(migrated) == schema(made)


def test_the_newest_step_is_named_and_there_is_one_road_to_it() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.NEWEST]


def test_migrating_again_changes_nothing(migrated: Engine) -> None:
    before = schema(migrated)
    with migrated.begin() as connection:
        migrations.migrate(connection, "memory")
    assert schema(migrated) == before


def test_jobs_of_an_earlier_version_can_be_looked_for() -> None:
    engine = create_engine("sqlite://")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    document = {"operation": {"name": "copy", "parameters": {}}, "description": "über all", "tags": {"a": "b", "c": ""}}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        columns = "id, account, token, status, priority, created_ms, succeeded, failed, document"
        values = ("job-1", "acme", "t", "New", 1, 1, 0, 0, json.dumps(document))
        connection.exec_driver_sql(f"INSERT INTO job ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        migrations.migrate(connection, "memory")
        assert connection.exec_driver_sql("SELECT operation, description FROM job").all() == [("copy", "über all")]
        tags = connection.exec_driver_sql("SELECT job, key, value FROM job_tag ORDER BY key").all()
    assert tags == [("job-1", "a", "b"), ("job-1", "c", "")]


def test_of_jobs_of_an_earlier_version_the_failures_by_code_are_classes() -> None:
    engine = create_engine("sqlite://")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    failing = json.dumps({"failures": {"NoSuchKey": 3, "Other": 2}})
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        columns = "id, account, token, status, priority, created_ms, total, succeeded, failed, document"
        for job, failed, document in (("job-1", 5, failing), ("job-2", 0, "{}")):
            values = (job, "acme", job, "New", 1, 1, 9, 0, failed, document)
            connection.exec_driver_sql(f"INSERT INTO job ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        migrations.migrate(connection, "memory")
        found = connection.execute(select(tables.failure_class)).all()
    assert [(row.job, row.code, row.count) for row in found] == [("job-1", "NoSuchKey", 3), ("job-1", "Other", 2)]
    assert all(rows.class_of(row[1:]).first_ms is None for row in found)


def test_a_start_that_ends_in_the_middle_of_a_migration_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = writing_engine(tmp_path / "haulier.db")
    with engine.connect() as connection, connection.begin() as transaction:
        migrations.migrate(connection, "haulier.db")
        transaction.rollback()
    assert schema(engine) == set()


def test_postgresql_can_have_the_same_schema() -> None:
    dialect = postgresql.dialect()
    for table in tables.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            partial = index.dialect_options["sqlite"]["where"] is not None
            assert ("WHERE" in str(CreateIndex(index).compile(dialect=dialect))) == partial


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"status": "Done"}, "job_status_known"),
        ({"ended_ms": 5}, "job_ended_when_terminal"),
        ({"status": "Failed"}, "job_ended_when_terminal"),
        ({"priority": -1}, "job_priority_natural"),
        ({"total": 5, "succeeded": -1}, "job_counters_natural"),
        ({"total": 5, "succeeded": 3, "failed": 3}, "job_counters_within_total"),
        ({"succeeded": 1}, "job_counters_within_total"),
        ({"status": "Complete", "ended_ms": 5, "total": 3, "succeeded": 2}, "job_complete_when_all_counted"),
    ],
)
def test_the_schema_refuses_a_job_that_cannot_be(migrated: Engine, changes: dict[str, object], constraint: str) -> None:
    with migrated.begin() as connection, pytest.raises(IntegrityError, match=constraint):
        connection.execute(insert(tables.job), rows.job_row(a_job()) | changes)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"rows": 0}, "chunk_"),
        ({"index": -1}, "chunk_place"),
        ({"horizon": 20_001}, "chunk_horizon_within_rows"),
        ({"opened_ms": 5}, "chunk_opened_first"),
        ({"succeeded": 20_000, "failed": 1}, "chunk_counts_within_rows"),
        ({"sealed_name": "x", "succeeded": 19_999}, "chunk_sealed_when_all_counted"),
        ({"job": "job-9"}, "FOREIGN KEY"),
    ],
)
def test_the_schema_refuses_a_chunk_that_cannot_be(migrated: Engine, changes: dict[str, object], constraint: str) -> None:
    with migrated.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.execute(insert(tables.job), rows.job_row(a_job()))
        with pytest.raises(IntegrityError, match=constraint):
            connection.execute(insert(tables.chunk), rows.chunk_row(a_chunk(0)) | changes)


def test_a_job_survives_its_row() -> None:
    database = sqlite3.connect(":memory:")
    row = rows.job_row(a_job(description="\u202e„ä“\n", total=7, succeeded=3))
    values = database.execute("SELECT " + ", ".join("?" * len(row)), list(row.values())).fetchone()
    assert rows.job_of(values) == a_job(description="\u202e„ä“\n", total=7, succeeded=3)
    database.close()
