"""The command line: exit codes, short errors on stderr and one JSON document on stdout."""

import json
import logging
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from jobs.demo.shop import Shop, create_platform
from sweeper import catalog
from sweeper.app import App
from sweeper.cli.main import main
from sweeper.postgres.database import Database
from sweeper.queue.install import install_pgmq
from tests.support import log_schema
from tests.support.verbs import (
    DEAD,
    HIGH,
    HOUR,
    LOW,
    MINUTE,
    QUEUE,
    broken,
    dead_letters,
    drain,
    messages,
    send,
)

PASSWORD = "r4hasia"  # noqa: S105 -- the embedded server trusts everybody

# Commands that change orders, or preview it; each needs a complete database.
WRITING = (
    ("sweep",),
    ("sweep", "--dry-run"),
    ("drain",),
    ("run",),
)
READING = (
    ("status",),
    ("dead", "list"),
    ("dead", "show", "1"),
    ("dead", "retry", "--all"),
    ("dead", "drop", "--all"),
    ("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}'),
    ("explain", "c1"),
    ("audit",),
    ("purge", QUEUE, "--yes"),
)

# One command for each way in which commands connect.
CONNECTING = (
    ("sweep",),
    ("run",),
    ("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}'),
    ("migrate",),
)

COMMANDS = (
    "demo",
    "migrate",
    "run",
    "sweep",
    "drain",
    "enqueue",
    "status",
    "dead",
    "dead list",
    "dead show",
    "dead retry",
    "dead drop",
    "explain",
    "audit",
    "refunds",
    "refunds list",
    "refunds settle",
    "refunds export",
    "purge",
    "doctor",
    "grants",
    "config",
    "token",
    "token new",
)

FOUND = {"found", "enqueued", "already_queued", "dead", "braked", "anomalies"}
JOBS = {"done", "skipped", "retried", "postponed", "dead"}


@dataclass(frozen=True, slots=True)
class Result:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout, which must contain nothing else."""
        return json.loads(self.out)


Run = Callable[..., Result]


def summary_of(result: Result, password: str = PASSWORD) -> tuple[int, str, bool, bool]:
    """Return the exit code, stdout, whether the error is short, and whether it keeps the secret."""
    lines = result.err.splitlines()
    short = 1 <= len(lines) <= 3 and lines[0].startswith("sweeper: ")
    return result.code, result.out, short, password not in result.err


def refusal(code: int) -> tuple[int, str, bool, bool]:
    """Return what `summary_of` returns for a refused command with this exit code."""
    return code, "", True, True


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment without any setting, not even those of /etc/sweeper."""
    empty = tmp_path / "empty.toml"
    empty.touch()
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {"PATH": os.defpath, "SWEEPER_CONFIG": str(empty), **coverage}


@pytest.fixture
def run(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """Run a command in this process, as its entry point does."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str, **variables: str) -> Result:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", environment | variables)
            patch.setattr(sys, "argv", ["sweeper", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        return Result(int(ended.value.code or 0), *capfd.readouterr())

    yield run_it
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def run_apart(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run a command in a process of its own."""

    def run_it(*arguments: str, **variables: str) -> Result:
        ended = subprocess.run(
            [sys.executable, "-m", "sweeper", *arguments],
            env=environment | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)

    return run_it


@pytest.fixture
def url(database_url: str) -> str:
    """Return the database's URL with a password that must never appear in any output."""
    return _with_password(database_url)


@pytest.fixture
def ready(url: str) -> dict[str, str]:
    """Return the variables that every command needs."""
    return {"DATABASE_URL": url, "SWEEPER_STOCK__TAKEN_AT": "checkout"}


def contents(database_url: str) -> Mapping[str, list[str]]:
    """Return every table of the database with its rows."""
    with psycopg.connect(_libpq(database_url)) as connection:
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_schema not in ('pg_catalog', 'information_schema')"
            " and table_type = 'BASE TABLE'"
        ).fetchall()
        return {
            f"{schema}.{name}": sorted(
                row
                for (row,) in connection.execute(
                    SQL("select cast(t as text) from {} as t").format(Identifier(schema, name))
                )
            )
            for schema, name in tables
        }


# Invalid settings: exit code 78.


@pytest.mark.parametrize("command", CONNECTING, ids=" ".join)
def test_commands_without_a_database_url_are_refused(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, SWEEPER_STOCK__TAKEN_AT="never")

    assert refusal(78) == summary_of(result)
    assert "set DATABASE_URL" in result.err


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_no_order_is_changed_while_stock_taken_at_is_not_set(
    run: Run, url: str, shop: Shop, command: tuple[str, ...]
) -> None:
    """A wrong guess would corrupt the inventory, so the setting has no default."""
    shop.order(age=HOUR)
    before = contents(url)

    result = run(*command, DATABASE_URL=url)

    assert refusal(78) == summary_of(result)
    assert "stock.taken_at is not set" in result.err
    assert before == contents(url)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SWEEPER_QUEUE__BATSH", "1", "queue.batsh is not a setting"),
        ("SWEEPER_HARBOUR__CRANES", "1", "SWEEPER_HARBOUR__CRANES is not a setting"),
        ("SWEEPER_QUEUE__VISIBILITY", "30", "'30' is not a valid duration"),
        ("SWEEPER_RULES__EXPIRE_DP__OLDER_THAN", "soon", "rules.expire_dp.older_than: 'soon'"),
        ("SWEEPER_STOCK__TAKEN_AT", "sometimes", "stock.taken_at: "),
        ("SWEEPER_SAFETY__MAX_PER_SWEEP", "0", "safety.max_per_sweep: "),
        ("SWEEPER_CONFIG", "/no/such/file.toml", "/no/such/file.toml cannot be read"),
        ("DATABASE_URL", f"mysql://sari:{PASSWORD}@db/jastip", "must begin with postgresql://"),
        (
            "DATABASE_URL",
            f"postgresql://sari:{PASSWORD}@db:port/jastip",
            "port that is not",
        ),
    ],
)
def test_an_invalid_setting_is_reported_by_name(
    run: Run, ready: dict[str, str], name: str, value: str, message: str
) -> None:
    before = contents(ready["DATABASE_URL"])

    result = run("sweep", **ready | {name: value})

    assert refusal(78) == summary_of(result)
    assert message in result.err
    assert before == contents(ready["DATABASE_URL"])


def test_an_unknown_key_in_the_file_is_reported_by_name(
    run: Run, ready: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "sweeper.toml"
    file.write_text("[queue]\nbatsh = 1\n")

    result = run("--config", str(file), "sweep", **ready)

    assert refusal(78) == summary_of(result)
    assert f"queue.batsh is not a setting ({file})" in result.err


def test_all_faults_of_the_settings_are_reported_at_once(run: Run, ready: dict[str, str]) -> None:
    wrong = {"SWEEPER_QUEUE__BATCH": "0", "SWEEPER_QUEUE__VISIBILITY": "30"}

    result = run("sweep", **ready | wrong)

    assert refusal(78) == summary_of(result)
    assert {"queue.batch", "queue.visibility"} == set(re.findall(r"queue\.\w+", result.err))


# Invalid commands: exit code 2.


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("sweep", "no_such_rule"), "there is no rule 'no_such_rule'; there are auto_refund"),
        (("enqueue", "NO_SUCH_TYPE", "{}"), "there is no job type 'NO_SUCH_TYPE'; there are"),
        (("enqueue", "ORDER_EXPIRE_DP", "{"), "the payload is not JSON"),
        (("enqueue", "ORDER_EXPIRE_DP", "c1"), "the payload is not JSON"),
        (("enqueue", "ORDER_EXPIRE_DP", '{"orderId": NaN}'), ""),
        (("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1", "n": NaN}'), ""),
        (("enqueue", "ORDER_EXPIRE_DP", r'{"orderId": "c\u0000"}'), ""),
        (("enqueue", "ORDER_EXPIRE_DP", r'{"orderId": "c\ud800"}'), ""),
        (("enqueue", "ORDER_EXPIRE_DP", "[]"), "does not accept this payload"),
        (("enqueue", "ORDER_EXPIRE_DP", "{}"), "orderId: Field required"),
        (("enqueue", "ORDER_EXPIRE_DP", '{"orderIds": []}'), "orderIds is empty"),
        (("enqueue", "ORDER_EXPIRE_DP", '{"orderIds": ["c1", ""]}'), "orderId: "),
        (("enqueue", "ORDER_EXPIRE_DP", '{"orderId": 7}'), "orderId: "),
        (("enqueue", "STOCK_RELEASE", '{"productId": "p1", "quantity": 0}'), "quantity: "),
        (
            ("dead", "retry"),
            "--fingerprint, --order, --older-than, --newer-than or --all",
        ),
        (
            ("dead", "drop"),
            "--fingerprint, --order, --older-than, --newer-than or --all",
        ),
        (("dead", "show", "99"), "there is no dead letter 99"),
        (("dead", "retry", "99"), "there is no dead letter 99"),
        (("explain", "no-such-order"), "no-such-order"),
        (("purge", QUEUE), "add --yes if you mean it"),
        (("purge", DEAD, "--older-than", "90d"), "add --yes if you mean it"),
        (("purge", DEAD, "--older-than", "90", "--yes"), "'90' is not a valid duration"),
        (("purge", DEAD, "--older-than", "0s", "--yes"), "must be longer than 0s"),
        (("purge", QUEUE, "--older-than", "90d", "--yes"), "only dead letters have an age"),
        (("purge", "no_such_queue", "--yes"), "there is no queue 'no_such_queue'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_command_with_invalid_arguments_is_refused(
    run: Run, ready: dict[str, str], shop: Shop, command: tuple[str, ...], message: str
) -> None:
    shop.order(age=HOUR)
    before = contents(ready["DATABASE_URL"])

    result = run(*command, **ready)

    assert refusal(2) == summary_of(result)
    assert message in result.err
    assert before == contents(ready["DATABASE_URL"])


@pytest.mark.parametrize(
    "command",
    [
        ("no-such-command",),
        ("sweep", "--no-such-option"),
        ("sweep", "--max", "0"),
        ("sweep", "--max", "many"),
        ("enqueue", "ORDER_EXPIRE_DP"),
        ("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--priority", "urgent"),
        ("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--delay", "-1"),
    ],
    ids=" ".join,
)
def test_a_command_with_a_syntax_error_is_refused(
    run: Run, ready: dict[str, str], command: tuple[str, ...]
) -> None:
    before = contents(ready["DATABASE_URL"])

    result = run(*command, **ready)

    assert (2, "", False) == (result.code, result.out, "Traceback" in result.err)
    assert before == contents(ready["DATABASE_URL"])


# An unusable database: exit code 69.


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run a server that handles each client with *answer*, and yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    answer(client)

        Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def refuse_password(client: socket.socket) -> None:
    """Refuse as Postgres does: https://www.postgresql.org/docs/current/protocol-flow.html."""
    while True:
        length, code = struct.unpack("!ii", client.recv(8, socket.MSG_WAITALL))
        if code not in {80877103, 80877104}:  # the client asks for encryption first
            break
        client.sendall(b"N")
    client.recv(length - 8, socket.MSG_WAITALL)
    message = 'password authentication failed for user "sari"'
    body = f"SFATAL\0VFATAL\0C28P01\0M{message}\0\0".encode()
    client.sendall(b"E" + struct.pack("!i", len(body) + 4) + body)


def never_answer(client: socket.socket) -> None:
    """Send nothing until the client disconnects, or for half a minute."""
    client.settimeout(30)
    with suppress(TimeoutError):
        while client.recv(1024):
            pass


@pytest.mark.parametrize("command", [one for one in CONNECTING if one != ("run",)], ids=" ".join)
def test_an_unreachable_server_is_reported(run: Run, command: tuple[str, ...]) -> None:
    url = f"postgresql://sari:{PASSWORD}@127.0.0.1:1/jastip"

    result = run(*command, DATABASE_URL=url, SWEEPER_STOCK__TAKEN_AT="never")

    assert refusal(69) == summary_of(result)
    assert "database at 127.0.0.1:1: " in result.err
    assert "check DATABASE_URL" in result.err


def test_an_unknown_host_is_reported(run: Run) -> None:
    url = f"postgresql://sari:{PASSWORD}@no-such-host.invalid/jastip"

    result = run("status", DATABASE_URL=url)

    assert refusal(69) == summary_of(result)
    assert "database at no-such-host.invalid: " in result.err


def test_a_wrong_password_is_reported_and_not_repeated(run: Run) -> None:
    with listening(refuse_password) as port:
        result = run("status", DATABASE_URL=f"postgresql://sari:{PASSWORD}@127.0.0.1:{port}/jastip")

    assert refusal(69) == summary_of(result)
    assert 'password authentication failed for user "sari"' in result.err


def test_a_server_that_never_answers_causes_a_timeout(run: Run) -> None:
    """L9: every call has a timeout."""
    with listening(never_answer) as port:
        result = run(
            "status",
            DATABASE_URL=f"postgresql://sari:{PASSWORD}@127.0.0.1:{port}/jastip",
            SWEEPER_DATABASE__CONNECT_TIMEOUT="2s",
        )

    assert refusal(69) == summary_of(result)


def test_a_missing_database_is_reported(run: Run, url: str) -> None:
    result = run("status", DATABASE_URL=_named(url, "no_such_database"))

    assert refusal(69) == summary_of(result)
    assert 'database "no_such_database" does not exist' in result.err


@pytest.mark.parametrize("command", [*WRITING, *READING, ("migrate",)], ids=" ".join)
def test_a_database_without_pgmq_is_reported(
    run: Run, bare_database_url: str, command: tuple[str, ...]
) -> None:
    before = contents(bare_database_url)

    result = run(
        *command, DATABASE_URL=_with_password(bare_database_url), SWEEPER_STOCK__TAKEN_AT="never"
    )

    assert refusal(69) == summary_of(result)
    assert "run: sweeper migrate --install-pgmq" in result.err
    assert before == contents(bare_database_url)


@pytest.mark.parametrize("command", [*WRITING, *READING], ids=" ".join)
def test_a_database_that_was_not_migrated_is_reported(
    run: Run, bare_database_url: str, command: tuple[str, ...]
) -> None:
    _create_platform_with_pgmq(bare_database_url)
    before = contents(bare_database_url)

    result = run(
        *command, DATABASE_URL=_with_password(bare_database_url), SWEEPER_STOCK__TAKEN_AT="never"
    )

    assert refusal(69) == summary_of(result)
    assert "run: sweeper migrate" in result.err
    assert before == contents(bare_database_url)


def test_a_database_without_the_platform_s_tables_is_reported(
    run: Run, ready: dict[str, str], connection: Connection
) -> None:
    connection.execute(text('drop table "Order" cascade'))

    result = run("sweep", **ready)

    assert refusal(69) == summary_of(result)
    assert "tables are missing: Order" in result.err


@pytest.mark.parametrize("command", [*WRITING, *READING, ("doctor",)], ids=" ".join)
def test_a_changed_schema_of_the_platform_is_reported_and_nothing_is_touched(
    run: Run, ready: dict[str, str], shop: Shop, connection: Connection, command: tuple[str, ...]
) -> None:
    """A statement that fails halfway would leave one rule scanned and the other not."""
    shop.order(age=HOUR)
    connection.execute(text('alter table "Order" drop column "dpProofUrl"'))
    before = contents(ready["DATABASE_URL"])

    result = run(*command, **ready)

    told = "Order lacks dpProofUrl: the platform's schema has changed"
    assert (69, 1) == (result.code, (result.out + result.err).count(told))
    assert before == contents(ready["DATABASE_URL"])


@pytest.fixture
def other_login(database_url: str, admin: psycopg.Connection) -> Iterator[str]:
    """Create a login with every grant and no ownership."""
    name = f"stranger_{os.getpid()}"
    role = Identifier(name)
    admin.execute(SQL("create role {} login password {}").format(role, PASSWORD))
    with psycopg.connect(_libpq(database_url), autocommit=True) as connection:
        for schema in map(Identifier, ("public", "pgmq", "sweeper")):
            for grant in ("usage on schema {}", "all on all tables in schema {}"):
                statement = SQL("grant ") + SQL(grant).format(schema) + SQL(" to {}").format(role)
                connection.execute(statement)
        yield name
        connection.execute(SQL("drop owned by {}").format(role))
    admin.execute(SQL("drop role {}").format(role))


def test_a_login_that_cannot_see_all_rows_is_reported(
    run: Run, ready: dict[str, str], shop: Shop, connection: Connection, other_login: str
) -> None:
    """Such a login sees no rows, which must not be reported as "nothing due"."""
    shop.order(age=HOUR)
    connection.execute(text('alter table "Order" enable row level security'))
    url = make_url(ready["DATABASE_URL"]).set(username=other_login, password=PASSWORD)

    result = run("sweep", **ready | {"DATABASE_URL": url.render_as_string(hide_password=False)})

    assert refusal(69) == summary_of(result)
    assert "row-level security hides rows from this login" in result.err


# The JSON documents that commands print.


def test_sweep_prints_a_report(run: Run, ready: dict[str, str], shop: Shop) -> None:
    order_id = shop.order(age=HOUR)

    result = run("sweep", "--json", **ready)

    document = result.document
    none = dict.fromkeys(FOUND, 0)
    assert {"sweep_id", "trigger", "dry_run", "rules", "jobs", "pauses", "duration_ms"} == set(
        document
    )
    rules = {name: one.enabled for name, one in catalog.load("jobs").rules.items()}
    assert {name for name, is_on in rules.items() if is_on} == document["rules"].keys()
    assert none | {"found": 1, "enqueued": 1} == document["rules"]["expire_dp"]
    assert all(one == none for name, one in document["rules"].items() if name != "expire_dp")
    assert dict.fromkeys(JOBS, 0) | {"done": 2} == document["jobs"]  # the order, and its notice
    assert ("manual", False) == (document["trigger"], document["dry_run"])
    assert (0, "cancelled") == (result.code, shop.status(order_id))


def test_a_dry_run_names_the_orders_and_changes_nothing(
    run: Run, ready: dict[str, str], shop: Shop
) -> None:
    oldest, newest = shop.order(age=2 * HOUR), shop.order(age=HOUR)
    before = contents(ready["DATABASE_URL"])

    result = run("sweep", "--dry-run", "--json", **ready)

    document = result.document
    expected = dict.fromkeys(FOUND, 0) | {"found": 2, "enqueued": 2, "orders": [oldest, newest]}
    assert expected.items() <= document["rules"]["expire_dp"].items()
    assert (0, True, dict.fromkeys(JOBS, 0)) == (result.code, document["dry_run"], document["jobs"])
    after = contents(ready["DATABASE_URL"])
    assert before == {**after, "sweeper.act": []}  # which says that somebody looked
    assert 2 == len(after["sweeper.act"])


def test_a_sweep_of_one_rule_does_not_run_the_others(
    run: Run, ready: dict[str, str], shop: Shop
) -> None:
    unpaid = shop.order(age=HOUR)

    result = run("sweep", "auto_refund", "--json", **ready)

    assert ["auto_refund"] == list(result.document["rules"])
    assert "pending_dp" == shop.status(unpaid)


def test_a_sweep_with_scan_only_does_not_work_the_jobs(
    run: Run, ready: dict[str, str], shop: Shop, app: App
) -> None:
    unpaid = shop.order(age=HOUR)

    result = run("sweep", "--scan-only", "--json", **ready)

    assert (0, dict.fromkeys(JOBS, 0)) == (result.code, result.document["jobs"])
    assert (1, "pending_dp") == (len(messages(app)), shop.status(unpaid))


def test_a_sweep_that_finds_nothing_succeeds(run: Run, ready: dict[str, str]) -> None:
    result = run("sweep", "--json", **ready)

    assert (0, dict.fromkeys(JOBS, 0)) == (result.code, result.document["jobs"])


def test_drain_prints_a_report(run: Run, ready: dict[str, str], shop: Shop, app: App) -> None:
    send(app, "ORDER_EXPIRE_DP", {"orderId": shop.order(age=HOUR)})
    send(app, "ORDER_EXPIRE_DP", {"orderId": "no-such-order"})

    result = run("drain", "--json", **ready)

    document = result.document
    assert {"jobs", "duration_ms"} == set(document)
    assert dict.fromkeys(JOBS, 0) | {"done": 2, "skipped": 1} == document["jobs"]
    assert 0 == result.code


def test_status_prints_queues_dead_letters_rules_and_database(
    run: Run, ready: dict[str, str], shop: Shop, app: App
) -> None:
    shop.order(age=31 * MINUTE)
    msg_id = send(app, "ORDER_EXPIRE_DP", {"orderId": "c1"}, retryCount=2)

    result = run("status", "--json", **ready)

    document = result.document
    assert {"at", "queues", "dead", "rules", "database"} <= set(document)
    assert {QUEUE, HIGH, LOW, f"{QUEUE}_outbound"} == set(document["queues"])
    (kinds,) = {frozenset(queue) for queue in document["queues"].values()}
    assert {"ready", "in_flight", "delayed", "oldest_ready_seconds", "oldest_ready"} == kinds
    oldest = {"msg_id": msg_id, "type": "ORDER_EXPIRE_DP", "retry_count": 2}
    assert oldest == document["queues"][QUEUE]["oldest_ready"]
    assert document["queues"][LOW]["oldest_ready"] is None
    assert {"count": 0, "oldest_seconds": 0} == document["dead"]
    assert {"pgmq", "server", "skew_ms"} == set(document["database"])
    rule = document["rules"]["expire_dp"]
    seconds = rule.pop("oldest_overdue_seconds")
    assert 60 <= seconds < 120
    never = {"anomalies": 0, "last_sweep_at": None, "last_sweep_ok": None}
    assert {"overdue": 1, **never} == rule


def test_dead_letters_are_listed_with_body_and_error(
    run: Run, ready: dict[str, str], app: App
) -> None:
    send(app, "NO_SUCH_TYPE", {"a": 1})
    run("drain", **ready)

    result = run("dead", "list", "--json", **ready)

    (dead_letter,) = result.document
    required = {"msg_id", "type", "key", "reason", "error", "attempts", "died_at", "body"}
    assert required <= set(dead_letter)
    assert (0, "unknown_type", 0, "NO_SUCH_TYPE", {"a": 1}) == (
        result.code,
        dead_letter["reason"],
        dead_letter["attempts"],
        dead_letter["body"]["type"],
        dead_letter["body"]["payload"],
    )


def test_an_empty_dead_letter_queue_is_an_empty_list(run: Run, ready: dict[str, str]) -> None:
    assert [] == run("dead", "list", "--json", **ready).document


def test_migrate_prints_its_steps_and_nothing_the_second_time(run: Run, platform_url: str) -> None:
    variables = {"DATABASE_URL": _with_password(platform_url)}

    first = run("migrate", "--install-pgmq", "--json", **variables)
    again = run("migrate", "--install-pgmq", "--json", **variables)

    assert ["installed pgmq", "schema sweeper: ", "queues: "] == [
        re.match(r"installed pgmq|\w[\w ]*: ", line).group()  # type: ignore[union-attr]
        for line in first.document["done"]
    ]
    assert (0, 0, {"done": []}) == (first.code, again.code, again.document)


def test_config_prints_every_setting_with_its_origin(run: Run, ready: dict[str, str]) -> None:
    result = run("config", "--json", **ready | {"SWEEPER_QUEUE__BATCH": "7"})

    document = result.document
    assert {("value", "from", "reload")} == {tuple(setting) for setting in document.values()}
    assert [7, "environment", False] == [*document["queue.batch"].values()]
    assert ["**********", "DATABASE_URL", False] == [*document["database.url"].values()]
    assert ["30s", "default", False] == [*document["queue.visibility"].values()]
    live = {name for name, setting in document.items() if setting["reload"]}
    assert {"web.token", "log.level", "safety.max_per_sweep"} == live
    assert PASSWORD not in result.out + result.err


def test_config_needs_no_database(run: Run) -> None:
    """Wrong settings can be found without a connection."""
    result = run("config", "--json")

    assert (0, None) == (result.code, result.document["database.url"]["value"])


@pytest.mark.parametrize(
    "command",
    [
        ("sweep",),
        ("sweep", "--dry-run"),
        ("drain",),
        ("status",),
        ("dead", "list"),
        ("config",),
        ("migrate",),
        ("audit",),
    ],
    ids=" ".join,
)
def test_the_output_for_people_contains_no_password_and_no_traceback(
    run: Run, ready: dict[str, str], shop: Shop, command: tuple[str, ...]
) -> None:
    """L11: neither stdout nor stderr contains the password."""
    shop.order(age=HOUR)

    result = run(*command, **ready)

    assert (0, True) == (result.code, bool(result.out))
    assert not re.search(rf"{PASSWORD}|Traceback", result.out + result.err)


def test_an_error_of_a_command_shows_no_phone(run: Run, ready: dict[str, str]) -> None:
    """L11: what somebody typed may be a number."""
    result = run("enqueue", "+62 812-3456-7890", "{}", **ready)

    assert refusal(2) == summary_of(result)
    assert "there is no job type '[phone]'" in result.err


def test_an_error_of_a_command_shows_no_secret(run: Run, ready: dict[str, str]) -> None:
    """L11: what somebody pasted may be the token."""
    token = "rahasia" * 5

    result = run("enqueue", token, "{}", SWEEPER_WEB__TOKEN=token, **ready)

    assert refusal(2) == summary_of(result)
    assert "there is no job type '***'" in result.err


# The exit codes of a sweep: 0, 3 and 4.


def test_a_retried_job_causes_exit_code_3(
    run: Run, ready: dict[str, str], shop: Shop, app: App
) -> None:
    shop.order(age=HOUR)

    with broken(app, "Order"):
        result = run("sweep", "--json", **ready)

    assert (3, 1) == (result.code, result.document["jobs"]["retried"])


def test_a_dead_lettered_job_causes_exit_code_3(run: Run, ready: dict[str, str], app: App) -> None:
    send(app, "NO_SUCH_TYPE", {})

    result = run("drain", "--json", **ready)

    assert (3, 1) == (result.code, result.document["jobs"]["dead"])


def test_a_postponed_job_causes_exit_code_0(
    run: Run, ready: dict[str, str], shop: Shop, connect: Callable[[], Connection]
) -> None:
    order_id = shop.order(age=HOUR)
    other = connect()
    other.execute(text('select 1 from "Order" where id = :id for update'), {"id": order_id})

    result = run("sweep", "--json", **ready)

    assert (0, True) == (result.code, result.document["jobs"]["postponed"] >= 1)


def test_a_braked_sweep_enqueues_nothing_and_has_exit_code_4(
    run: Run, ready: dict[str, str], shop: Shop, app: App
) -> None:
    """L7: a wrong clock or a bad migration must not cancel every order."""
    orders = [shop.order(age=HOUR), shop.order(age=HOUR)]

    result = run("sweep", "--json", **ready | {"SWEEPER_SAFETY__MAX_PER_SWEEP": "1"})

    expected = dict.fromkeys(FOUND, 0) | {"found": 2, "braked": 2}
    assert (4, expected) == (result.code, result.document["rules"]["expire_dp"])
    assert ([], ["pending_dp"] * 2) == (messages(app), [*map(shop.status, orders)])


def test_a_braked_sweep_prints_how_to_release_the_brake(
    run: Run, ready: dict[str, str], shop: Shop
) -> None:
    shop.many(2, age=HOUR)

    result = run("sweep", **ready | {"SWEEPER_SAFETY__MAX_PER_SWEEP": "1"})

    assert 4 == result.code
    assert "stopped: too many orders due (limit 1)" in result.err
    assert "sweeper sweep expire_dp --max 2" in result.err


def test_a_higher_limit_releases_the_brake(run: Run, ready: dict[str, str], shop: Shop) -> None:
    orders = [shop.order(age=HOUR), shop.order(age=HOUR)]

    result = run("sweep", "--max", "2", **ready | {"SWEEPER_SAFETY__MAX_PER_SWEEP": "1"})

    assert (0, ["cancelled"] * 2) == (result.code, [*map(shop.status, orders)])


def test_a_limit_that_is_too_low_does_not_release_the_brake(
    run: Run, ready: dict[str, str], shop: Shop
) -> None:
    shop.many(3, age=HOUR)

    assert 4 == run("sweep", "--max", "2", **ready).code


# Jobs by hand.


def test_enqueue_prints_the_id_of_the_message(run: Run, ready: dict[str, str], app: App) -> None:
    result = run("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', **ready)

    (sent,) = messages(app)
    assert (0, f"{sent.msg_id}\n", "") == (result.code, result.out, result.err)


def test_enqueue_writes_the_platforms_five_keys(run: Run, ready: dict[str, str], app: App) -> None:
    run("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', **ready)

    (sent,) = messages(app)
    created_at = sent.body.pop("createdAt")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created_at)
    expected = {
        "type": "ORDER_EXPIRE_DP",
        "payload": {"orderId": "c1"},
        "retryCount": 0,
        "maxRetries": 3,
    }
    assert expected == sent.body


def test_enqueue_writes_field_names_in_camel_case(
    run: Run, ready: dict[str, str], app: App
) -> None:
    """Names are accepted in snake case too, and always written in camel case."""
    run("enqueue", "ORDER_EXPIRE_DP", '{"order_id": "c1"}', **ready)

    assert [{"orderId": "c1"}] == [sent.body["payload"] for sent in messages(app)]


@pytest.mark.parametrize(
    ("options", "queue"),
    [
        ((), QUEUE),
        (("--priority", "high"), HIGH),
        (("--priority", "normal"), QUEUE),
        (("--priority", "low"), LOW),
    ],
    ids=str,
)
def test_enqueue_sends_to_the_queue_of_the_priority(
    run: Run, ready: dict[str, str], app: App, options: tuple[str, ...], queue: str
) -> None:
    result = run("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--json", *options, **ready)

    (sent,) = messages(app, queue)
    assert {"msg_id": sent.msg_id, "queue": queue} == result.document


def test_enqueue_may_delay_a_message(run: Run, ready: dict[str, str], app: App) -> None:
    run("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--delay", "600", **ready)

    (sent,) = messages(app)
    assert 9 * MINUTE < sent.delay <= 10 * MINUTE


# Dead letters, and purging a queue.


def test_a_dead_letter_can_be_retried(run: Run, ready: dict[str, str], app: App) -> None:
    send(app, "NO_SUCH_TYPE", {})
    run("drain", **ready)
    (dead_letter,) = dead_letters(app)

    result = run("dead", "retry", str(dead_letter.msg_id), "--json", **ready)

    assert (0, {"retried": [dead_letter.msg_id]}) == (result.code, result.document)
    assert (1, []) == (len(messages(app)), dead_letters(app))


def test_a_dead_letter_can_be_dropped(run: Run, ready: dict[str, str], app: App) -> None:
    send(app, "NO_SUCH_TYPE", {})
    run("drain", **ready)

    result = run("dead", "drop", "--reason", "unknown_type", **ready)

    assert (0, "1 dead letter dropped\n") == (result.code, result.out)
    assert ([], []) == (messages(app), dead_letters(app))


@pytest.mark.parametrize("queue", [QUEUE, DEAD])
def test_purge_with_yes_empties_a_queue(
    run: Run, ready: dict[str, str], app: App, queue: str
) -> None:
    for _ in range(3):
        send(app, "ORDER_EXPIRE_DP", {"orderId": "c1"}, queue=queue)

    result = run("purge", queue, "--yes", **ready)

    assert (0, f"3 messages deleted from {queue}\n") == (result.code, result.out)
    assert [] == messages(app, queue)


def test_purge_takes_only_dead_letters_of_an_age(
    run: Run, ready: dict[str, str], app: App, connection: Connection
) -> None:
    for _ in range(3):
        send(app, "MAKE_COFFEE", {})
    drain(app)
    old = f"update pgmq.q_{DEAD} set enqueued_at = now() - interval '90 d' where msg_id <= 2"
    connection.execute(text(old))

    result = run("purge", DEAD, "--older-than", "90d", "--yes", "--json", **ready)

    assert (0, {"queue": DEAD, "purged": 2}) == (result.code, result.document)
    assert [3] == [letter.msg_id for letter in dead_letters(app)]


# The service.


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, (
            "the condition did not become true within twenty seconds"
        )
        time.sleep(0.05)


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run the service, and kill it when the test is done."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper", "run"],
        env=environment | {"SWEEPER_WEB__PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_the_service_sweeps_and_stops_on_a_signal(
    environment: dict[str, str], ready: dict[str, str], shop: Shop, sent: signal.Signals
) -> None:
    order_id = shop.order(age=HOUR)

    with serving(environment | ready) as process:
        wait_until(lambda: shop.status(order_id) == "cancelled")
        process.send_signal(sent)
        out, err = process.communicate(timeout=10)

    lines = log_schema.lines(out)
    names = [line["event"] for line in lines]
    assert (0, "") == (process.returncode, err)
    assert {("timestamp", "level", "event", "instance")} == {tuple(line)[:4] for line in lines}
    assert "service.stopped" == names[-1]
    assert {"service.started", "scan.finished", "batch.done", "service.stopping"} <= set(names)
    assert PASSWORD not in out


# Help.


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")

    assert (0, "") == (result.code, result.err)
    assert f"Usage: sweeper {command}" in result.out


def test_without_a_command_the_commands_are_listed(run: Run) -> None:
    result = run()

    listed = set(re.findall(r"^  ([a-z]+)  ", result.out + result.err, re.MULTILINE))
    assert {command.split()[0] for command in COMMANDS} <= listed


def _create_platform_with_pgmq(database_url: str) -> None:
    """Create the platform's tables and pgmq, without running `sweeper migrate`."""
    database = Database(database_url)
    with database.transaction() as tx:
        install_pgmq(tx)
    database.close()
    engine = create_engine(
        make_url(database_url).set(drivername="postgresql+psycopg"), poolclass=NullPool
    )
    with engine.begin() as connection:
        create_platform(connection)


def _with_password(url: str) -> str:
    made = make_url(url)
    return made.set(password=made.password or PASSWORD).render_as_string(hide_password=False)


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--delay", "31536001"),
        ("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--delay", "9" * 30),
        ("sweep", "--dry-run", "--max", "2147483648"),
        ("dead", "list", "--limit", "2147483648"),
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_a_number_that_no_column_holds_is_a_usage_error(
    run: Run, arguments: tuple[str, ...]
) -> None:
    result = run(*arguments)

    assert (2, "") == (result.code, result.out)
    assert arguments[-2] in result.err
