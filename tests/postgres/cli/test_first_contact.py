"""The first hours of an installation: what is missing is told once, with the way to go on."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, make_url, text

from jobs.demo.shop import Shop
from tests.support.verbs import HOUR, Run

LOGIN = "sweeper's login"


def findings(run: Run, url: str) -> list[str]:
    """Return what the doctor says of this database, apart from good news."""
    _, out, _ = run("doctor", "--json", DATABASE_URL=url)
    return [f"{one['about']}: {one['what']}" for one in json.loads(out) if one["level"] != "ok"]


def schemas(url: str) -> set[str]:
    """Return the schemas of the database that are not the server's own."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("select nspname from pg_namespace where nspname !~ '^pg_'")
        return {name for (name,) in rows} - {"information_schema"}


@pytest.fixture
def login(connection: Connection, admin: psycopg.Connection, database_url: str) -> Iterator[str]:
    """Create a login without any grant; yield the database's URL with it."""
    admin.execute(SQL("create role {} login").format(Identifier(LOGIN)))
    url = make_url(database_url).set(username=LOGIN, password=None)
    yield url.render_as_string(hide_password=False)
    connection.execute(text(f"drop owned by {Identifier(LOGIN).as_string()}"))
    admin.execute(SQL("drop role {}").format(Identifier(LOGIN)))


def test_the_doctor_has_one_finding_before_pgmq_is_installed(run: Run, platform_url: str) -> None:
    assert ["pgmq: it is not installed"] == findings(run, platform_url)


def test_the_doctor_has_one_finding_before_the_first_migration(
    run: Run, database_url: str, connection: Connection
) -> None:
    connection.execute(text("drop schema sweeper cascade"))

    found = findings(run, database_url)

    assert ["schema: schema sweeper is missing, or of another version"] == found


def test_migrate_refuses_a_database_that_is_not_the_platform_s(
    run: Run, bare_database_url: str
) -> None:
    """A typo in a URL must not leave a schema and queues in somebody else's database."""
    before = schemas(bare_database_url)

    code, out, err = run("migrate", "--install-pgmq", DATABASE_URL=bare_database_url)

    assert (69, "") == (code, out)
    assert "sweeper: tables are missing: Order, OrderItem" in err
    assert "is this the platform's database" in err
    assert before == schemas(bare_database_url)


@pytest.mark.parametrize("command", [("migrate",), ("status",), ("sweep",), ("doctor",)], ids=str)
def test_an_older_program_says_that_the_schema_is_newer_and_how_to_go_on(
    run: Run, connection: Connection, command: tuple[str, ...]
) -> None:
    connection.execute(
        text("update sweeper.alembic_version set version_num = 'engine_9999'"
             " where version_num like 'engine%'")
    )  # fmt: skip

    code, out, err = run(*command)

    assert 69 == code
    assert "schema sweeper is newer than this program: it has engine_9999" in out + err
    assert "upgrade sweeper on this host" in out + err
    assert "bug" not in err


def test_a_refused_migration_names_the_owner_and_the_direct_url(run: Run, login: str) -> None:
    code, _, err = run("migrate", DATABASE_URL=login)

    assert 69 == code
    assert "permission denied" in err
    assert "owner" in err
    assert "DIRECT_URL" in err


def test_the_doctor_names_the_login_that_lacks_grants(run: Run, login: str) -> None:
    _, out, _ = run("doctor", "--json", DATABASE_URL=login)

    errors = [one for one in json.loads(out) if one["level"] == "error"]
    assert ["grants"] == [one["about"] for one in errors]
    assert "sweeper grants 'sweeper'\"'\"'s login'" in errors[0]["remedy"]
    assert f'to "{LOGIN}";' in errors[0]["remedy"]
    assert "ROLE" not in errors[0]["remedy"]


def test_the_doctor_names_the_login_that_row_level_security_hides_rows_from(
    run: Run, login: str, connection: Connection
) -> None:
    to = Identifier(LOGIN).as_string()
    for statement in run("grants", LOGIN)[1].splitlines():
        connection.execute(text(statement))
    connection.execute(text('alter table "Order" enable row level security'))

    _, out, _ = run("doctor", "--json", DATABASE_URL=login)

    (error,) = [one for one in json.loads(out) if one["level"] == "error"]
    assert f"alter role {to} bypassrls;" in error["remedy"]


# A slip of the finger is answered.


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--scan-only",)], ids=str)
def test_a_rule_that_is_named_twice_is_swept_once(
    run: Run, shop: Shop, options: tuple[str, ...]
) -> None:
    shop.order(age=HOUR)

    code, out, _ = run("sweep", "expire_dp", "auto_refund", "expire_dp", "--json", *options)

    rules = json.loads(out)["rules"]
    assert (0, 1) == (code, rules["expire_dp"]["found"])
    assert ["auto_refund", "expire_dp"] == sorted(rules)


@pytest.mark.parametrize("verb", ["list", "retry", "drop"])
def test_an_unknown_reason_of_dead_letters_is_refused(run: Run, verb: str) -> None:
    """An empty list would say that nothing died."""
    code, out, err = run("dead", verb, "--reason", "nonsense")

    assert (2, "") == (code, out)
    for reason in ("exhausted", "invalid", "unknown_type", "crashed", "rejected"):
        assert reason in err


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_without_a_url_every_command_says_that_the_settings_are_invalid(
    run: Run, command: str
) -> None:
    code, out, err = run(command, DATABASE_URL="")

    assert 78 == code
    assert "database.url is not set" in out + err
