"""The command line from outside: exit codes, one or two lines of error, one JSON document."""

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
from contextlib import contextmanager
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
    messages,
    send,
)

PASSWORD = "r4hasia"  # noqa: S105 -- the embedded server trusts everybody

# What touches orders, or would; each needs a database that is in order.
WORKING = (
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

# One command of each way to a connection.
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
)

FOUND = {"found", "enqueued", "already_queued", "dead", "braked", "anomalies"}
JOBS = {"done", "skipped", "retried", "postponed", "dead"}


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; anything else there is an error."""
        return json.loads(self.out)


Run = Callable[..., Ran]


def said(ran: Ran, password: str = PASSWORD) -> tuple[int, str, bool, bool]:
    """Return the exit code, stdout, whether the error is short, and whether it keeps the secret."""
    lines = ran.err.splitlines()
    short = 1 <= len(lines) <= 3 and lines[0].startswith("sweeper: ")
    return ran.code, ran.out, short, password not in ran.err


def refused(code: int) -> tuple[int, str, bool, bool]:
    """Return what `said` of a refusal should be: the code, and a short error without a secret."""
    return code, "", True, True


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which nobody has set anything, /etc/sweeper included."""
    empty = tmp_path / "empty.toml"
    empty.touch()
    measuring = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {"PATH": os.defpath, "SWEEPER_CONFIG": str(empty), **measuring}


@pytest.fixture
def run(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """Run a command to its end, as its entry point does; only the program's start is spared."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str, **variables: str) -> Ran:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", environment | variables)
            patch.setattr(sys, "argv", ["sweeper", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        return Ran(int(ended.value.code or 0), *capfd.readouterr())

    yield run_it
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def run_apart(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run a command to its end in a process of its own."""

    def run_it(*arguments: str, **variables: str) -> Ran:
        ended = subprocess.run(
            [sys.executable, "-m", "sweeper", *arguments],
            env=environment | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    return run_it


@pytest.fixture
def url(database_url: str) -> str:
    """Return the database's URL with a password in it, that must never be seen again."""
    return _with_password(database_url)


@pytest.fixture
def ready(url: str) -> dict[str, str]:
    """Return the variables with which everything works."""
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


# Settings that cannot be right: 78.


@pytest.mark.parametrize("command", CONNECTING, ids=" ".join)
def test_without_a_database_url_nothing_works(run: Run, command: tuple[str, ...]) -> None:
    ran = run(*command, SWEEPER_STOCK__TAKEN_AT="never")

    assert refused(78) == said(ran)
    assert "set DATABASE_URL" in ran.err


@pytest.mark.parametrize("command", WORKING, ids=" ".join)
def test_no_order_is_touched_before_somebody_says_when_stock_is_taken(
    run: Run, url: str, shop: Shop, command: tuple[str, ...]
) -> None:
    """A wrong guess corrupts an inventory, so there is no default."""
    shop.order(age=HOUR)
    before = contents(url)

    ran = run(*command, DATABASE_URL=url)

    assert refused(78) == said(ran)
    assert "stock.taken_at is not set" in ran.err
    assert before == contents(url)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SWEEPER_QUEUE__BATSH", "1", "queue.batsh is no setting"),
        ("SWEEPER_HARBOUR__CRANES", "1", "SWEEPER_HARBOUR__CRANES is no setting"),
        ("SWEEPER_QUEUE__VISIBILITY", "30", "'30' is no duration"),
        ("SWEEPER_RULES__EXPIRE_DP__OLDER_THAN", "soon", "rules.expire_dp.older_than: 'soon'"),
        ("SWEEPER_STOCK__TAKEN_AT", "sometimes", "stock.taken_at: "),
        ("SWEEPER_SAFETY__MAX_PER_SWEEP", "0", "safety.max_per_sweep: "),
        ("SWEEPER_CONFIG", "/no/such/file.toml", "/no/such/file.toml cannot be read"),
        ("DATABASE_URL", f"mysql://sari:{PASSWORD}@db/jastip", "no Postgres URL"),
        ("DATABASE_URL", f"postgresql://sari:{PASSWORD}@db:port/jastip", "port that is no number"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(
    run: Run, ready: dict[str, str], name: str, value: str, told: str
) -> None:
    before = contents(ready["DATABASE_URL"])

    ran = run("sweep", **ready | {name: value})

    assert refused(78) == said(ran)
    assert told in ran.err
    assert before == contents(ready["DATABASE_URL"])


def test_a_key_of_the_file_that_nobody_knows_is_named(
    run: Run, ready: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "sweeper.toml"
    file.write_text("[queue]\nbatsh = 1\n")

    ran = run("--config", str(file), "sweep", **ready)

    assert refused(78) == said(ran)
    assert f"queue.batsh is no setting ({file})" in ran.err


def test_faults_of_the_settings_are_told_all_at_once(run: Run, ready: dict[str, str]) -> None:
    wrong = {"SWEEPER_QUEUE__BATCH": "0", "SWEEPER_QUEUE__VISIBILITY": "30"}

    ran = run("sweep", **ready | wrong)

    assert refused(78) == said(ran)
    assert {"queue.batch", "queue.visibility"} == set(re.findall(r"queue\.\w+", ran.err))


# Commands that cannot be meant: 2.


@pytest.mark.parametrize(
    ("command", "told"),
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
        (("enqueue", "ORDER_EXPIRE_DP", '{"orderId": 7}'), "orderId: "),
        (("enqueue", "STOCK_RELEASE", '{"productId": "p1", "quantity": 0}'), "quantity: "),
        (
            ("dead", "retry"),
            "no dead letters selected: give ids, --type, --reason, --fingerprint or --all",
        ),
        (
            ("dead", "drop"),
            "no dead letters selected: give ids, --type, --reason, --fingerprint or --all",
        ),
        (("dead", "show", "99"), "there is no dead letter 99"),
        (("dead", "retry", "99"), "there is no dead letter 99"),
        (("explain", "no-such-order"), "no-such-order"),
        (("purge", QUEUE), "add --yes if you mean it"),
        (("purge", "no_such_queue", "--yes"), "there is no queue 'no_such_queue'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_command_that_cannot_be_meant_is_refused(
    run: Run, ready: dict[str, str], shop: Shop, command: tuple[str, ...], told: str
) -> None:
    shop.order(age=HOUR)
    before = contents(ready["DATABASE_URL"])

    ran = run(*command, **ready)

    assert refused(2) == said(ran)
    assert told in ran.err
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
def test_a_command_that_is_spelled_wrong_is_refused(
    run: Run, ready: dict[str, str], command: tuple[str, ...]
) -> None:
    before = contents(ready["DATABASE_URL"])

    ran = run(*command, **ready)

    assert (2, "", False) == (ran.code, ran.out, "Traceback" in ran.err)
    assert before == contents(ready["DATABASE_URL"])


# A database that cannot be used: 69.


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Lend the port of somebody who gives every visitor this *answer*."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    visitor, _ = server.accept()
                except OSError:
                    return
                with visitor:
                    answer(visitor)

        Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def refuse_password(visitor: socket.socket) -> None:
    """Answer as Postgres does: https://www.postgresql.org/docs/current/protocol-flow.html."""
    while True:
        length, code = struct.unpack("!ii", visitor.recv(8, socket.MSG_WAITALL))
        if code not in {80877103, 80877104}:  # it asks for encryption first
            break
        visitor.sendall(b"N")
    visitor.recv(length - 8, socket.MSG_WAITALL)
    told = 'password authentication failed for user "sari"'
    body = f"SFATAL\0VFATAL\0C28P01\0M{told}\0\0".encode()
    visitor.sendall(b"E" + struct.pack("!i", len(body) + 4) + body)


def say_nothing(visitor: socket.socket) -> None:
    """Leave the visitor to itself until it goes."""
    visitor.settimeout(30)
    while visitor.recv(1024):
        pass


@pytest.mark.parametrize("command", CONNECTING, ids=" ".join)
def test_a_server_that_is_not_there_is_told(run: Run, command: tuple[str, ...]) -> None:
    url = f"postgresql://sari:{PASSWORD}@127.0.0.1:1/jastip"

    ran = run(*command, DATABASE_URL=url, SWEEPER_STOCK__TAKEN_AT="never")

    assert refused(69) == said(ran)
    assert "database at 127.0.0.1:1: " in ran.err
    assert "check DATABASE_URL" in ran.err


def test_a_host_that_nobody_knows_is_told(run: Run) -> None:
    url = f"postgresql://sari:{PASSWORD}@no-such-host.invalid/jastip"

    ran = run("status", DATABASE_URL=url)

    assert refused(69) == said(ran)
    assert "database at no-such-host.invalid: " in ran.err


def test_a_wrong_password_is_told_and_not_repeated(run: Run) -> None:
    with listening(refuse_password) as port:
        ran = run("status", DATABASE_URL=f"postgresql://sari:{PASSWORD}@127.0.0.1:{port}/jastip")

    assert refused(69) == said(ran)
    assert 'password authentication failed for user "sari"' in ran.err


def test_a_server_that_never_answers_is_given_up(run: Run) -> None:
    """L9: every call has a timeout."""
    with listening(say_nothing) as port:
        ran = run(
            "status",
            DATABASE_URL=f"postgresql://sari:{PASSWORD}@127.0.0.1:{port}/jastip",
            SWEEPER_DATABASE__CONNECT_TIMEOUT="2s",
        )

    assert refused(69) == said(ran)


def test_a_database_that_does_not_exist_is_told(run: Run, url: str) -> None:
    ran = run("status", DATABASE_URL=_named(url, "no_such_database"))

    assert refused(69) == said(ran)
    assert 'database "no_such_database" does not exist' in ran.err


@pytest.mark.parametrize("command", [*WORKING, *READING, ("migrate",)], ids=" ".join)
def test_a_database_without_pgmq_is_told(
    run: Run, bare_database_url: str, command: tuple[str, ...]
) -> None:
    before = contents(bare_database_url)

    ran = run(
        *command, DATABASE_URL=_with_password(bare_database_url), SWEEPER_STOCK__TAKEN_AT="never"
    )

    assert refused(69) == said(ran)
    assert "run: sweeper migrate --install-pgmq" in ran.err
    assert before == contents(bare_database_url)


@pytest.mark.parametrize("command", [*WORKING, *READING], ids=" ".join)
def test_a_database_that_was_not_migrated_is_told(
    run: Run, bare_database_url: str, command: tuple[str, ...]
) -> None:
    _furnish(bare_database_url)
    before = contents(bare_database_url)

    ran = run(
        *command, DATABASE_URL=_with_password(bare_database_url), SWEEPER_STOCK__TAKEN_AT="never"
    )

    assert refused(69) == said(ran)
    assert "run: sweeper migrate" in ran.err
    assert before == contents(bare_database_url)


def test_a_database_without_the_platform_is_told(run: Run, bare_database_url: str) -> None:
    variables = {
        "DATABASE_URL": _with_password(bare_database_url),
        "SWEEPER_STOCK__TAKEN_AT": "never",
    }
    migrated = run("migrate", "--install-pgmq", **variables)

    ran = run("sweep", **variables)

    assert (0, refused(69)) == (migrated.code, said(ran))
    assert "tables are missing: Order" in ran.err


@pytest.fixture
def stranger(database_url: str, admin: psycopg.Connection) -> Iterator[str]:
    """Make a login that may do everything, and owns nothing."""
    name = f"stranger_{os.getpid()}"
    role = Identifier(name)
    admin.execute(SQL("create role {} login password {}").format(role, PASSWORD))
    with psycopg.connect(_libpq(database_url), autocommit=True) as connection:
        for schema in map(Identifier, ("public", "pgmq", "sweeper")):
            for grant in ("usage on schema {}", "all on all tables in schema {}"):
                told = SQL("grant ") + SQL(grant).format(schema) + SQL(" to {}").format(role)
                connection.execute(told)
        yield name
        connection.execute(SQL("drop owned by {}").format(role))
    admin.execute(SQL("drop role {}").format(role))


def test_a_login_from_which_rows_are_hidden_is_told(
    run: Run, ready: dict[str, str], shop: Shop, connection: Connection, stranger: str
) -> None:
    """It sees zero rows: that must be an error, never "nothing due"."""
    shop.order(age=HOUR)
    connection.execute(text('alter table "Order" enable row level security'))
    url = make_url(ready["DATABASE_URL"]).set(username=stranger, password=PASSWORD)

    ran = run("sweep", **ready | {"DATABASE_URL": url.render_as_string(hide_password=False)})

    assert refused(69) == said(ran)
    assert "row-level security hides rows from this login" in ran.err


# What commands print: one JSON document, to the letter.


def test_sweep_tells_what_it_did(run: Run, ready: dict[str, str], shop: Shop) -> None:
    order_id = shop.order(age=HOUR)

    ran = run("sweep", "--json", **ready)

    told = ran.document
    none = dict.fromkeys(FOUND, 0)
    assert {"sweep_id", "trigger", "dry_run", "rules", "jobs", "duration_ms"} == set(told)
    assert {"expire_dp": none | {"found": 1, "enqueued": 1}, "auto_refund": none} == told["rules"]
    assert dict.fromkeys(JOBS, 0) | {"done": 2} == told["jobs"]  # the order, and its notice
    assert ("manual", False) == (told["trigger"], told["dry_run"])
    assert (0, "cancelled") == (ran.code, shop.status(order_id))


def test_a_dry_run_names_the_orders_and_changes_nothing(
    run: Run, ready: dict[str, str], shop: Shop
) -> None:
    oldest, newest = shop.order(age=2 * HOUR), shop.order(age=HOUR)
    before = contents(ready["DATABASE_URL"])

    ran = run("sweep", "--dry-run", "--json", **ready)

    told = ran.document
    expected = dict.fromkeys(FOUND, 0) | {"found": 2, "enqueued": 2, "orders": [oldest, newest]}
    assert expected.items() <= told["rules"]["expire_dp"].items()
    assert (0, True, dict.fromkeys(JOBS, 0)) == (ran.code, told["dry_run"], told["jobs"])
    assert before == contents(ready["DATABASE_URL"])


def test_a_sweep_of_one_rule_leaves_the_others_alone(
    run: Run, ready: dict[str, str], shop: Shop
) -> None:
    unpaid = shop.order(age=HOUR)

    ran = run("sweep", "auto_refund", "--json", **ready)

    assert ["auto_refund"] == list(ran.document["rules"])
    assert "pending_dp" == shop.status(unpaid)


def test_a_scan_only_leaves_the_work_to_the_service(
    run: Run, ready: dict[str, str], shop: Shop, app: App
) -> None:
    unpaid = shop.order(age=HOUR)

    ran = run("sweep", "--scan-only", "--json", **ready)

    assert (0, dict.fromkeys(JOBS, 0)) == (ran.code, ran.document["jobs"])
    assert (1, "pending_dp") == (len(messages(app)), shop.status(unpaid))


def test_a_sweep_that_finds_nothing_is_done(run: Run, ready: dict[str, str]) -> None:
    ran = run("sweep", "--json", **ready)

    assert (0, dict.fromkeys(JOBS, 0)) == (ran.code, ran.document["jobs"])


def test_drain_tells_what_it_did(run: Run, ready: dict[str, str], shop: Shop, app: App) -> None:
    send(app, "ORDER_EXPIRE_DP", {"orderId": shop.order(age=HOUR)})
    send(app, "ORDER_EXPIRE_DP", {"orderId": "no-such-order"})

    ran = run("drain", "--json", **ready)

    told = ran.document
    assert {"jobs", "duration_ms"} == set(told)
    assert dict.fromkeys(JOBS, 0) | {"done": 2, "skipped": 1} == told["jobs"]
    assert 0 == ran.code


def test_status_tells_everything_that_waits(
    run: Run, ready: dict[str, str], shop: Shop, app: App
) -> None:
    shop.order(age=31 * MINUTE)
    msg_id = send(app, "ORDER_EXPIRE_DP", {"orderId": "c1"}, retryCount=2)

    ran = run("status", "--json", **ready)

    told = ran.document
    assert {"at", "queues", "dead", "rules", "database"} <= set(told)
    assert {QUEUE, HIGH, LOW, f"{QUEUE}_outbound"} == set(told["queues"])
    (kinds,) = {frozenset(queue) for queue in told["queues"].values()}
    assert {"ready", "in_flight", "delayed", "oldest_ready_seconds", "oldest_ready"} == kinds
    oldest = {"msg_id": msg_id, "type": "ORDER_EXPIRE_DP", "retry_count": 2}
    assert oldest == told["queues"][QUEUE]["oldest_ready"]
    assert told["queues"][LOW]["oldest_ready"] is None
    assert {"count": 0, "oldest_seconds": 0} == told["dead"]
    assert {"pgmq", "server", "skew_ms"} == set(told["database"])
    rule = told["rules"]["expire_dp"]
    seconds = rule.pop("oldest_overdue_seconds")
    assert 60 <= seconds < 120
    never = {"anomalies": 0, "last_sweep_at": None, "last_sweep_ok": None}
    assert {"overdue": 1, **never} == rule


def test_dead_letters_are_listed_with_body_and_error(
    run: Run, ready: dict[str, str], app: App
) -> None:
    send(app, "NO_SUCH_TYPE", {"a": 1})
    run("drain", **ready)

    ran = run("dead", "list", "--json", **ready)

    (letter,) = ran.document
    promised = {"msg_id", "type", "key", "reason", "error", "attempts", "died_at", "body"}
    assert promised <= set(letter)
    assert (0, "unknown_type", 0, "NO_SUCH_TYPE", {"a": 1}) == (
        ran.code,
        letter["reason"],
        letter["attempts"],
        letter["body"]["type"],
        letter["body"]["payload"],
    )


def test_dead_letters_are_none_at_first(run: Run, ready: dict[str, str]) -> None:
    assert [] == run("dead", "list", "--json", **ready).document


def test_migrate_tells_what_it_did_and_then_nothing(run: Run, bare_database_url: str) -> None:
    variables = {"DATABASE_URL": _with_password(bare_database_url)}

    first = run("migrate", "--install-pgmq", "--json", **variables)
    again = run("migrate", "--install-pgmq", "--json", **variables)

    assert ["installed pgmq", "schema sweeper: ", "queues: "] == [
        re.match(r"installed pgmq|\w[\w ]*: ", line).group()  # type: ignore[union-attr]
        for line in first.document["done"]
    ]
    assert (0, 0, {"done": []}) == (first.code, again.code, again.document)


def test_config_tells_every_setting_and_where_it_came_from(run: Run, ready: dict[str, str]) -> None:
    ran = run("config", "--json", **ready | {"SWEEPER_QUEUE__BATCH": "7"})

    told = ran.document
    assert {frozenset({"value", "from"})} == {frozenset(setting) for setting in told.values()}
    assert {"value": 7, "from": "environment"} == told["queue.batch"]
    assert {"value": "**********", "from": "DATABASE_URL"} == told["database.url"]
    assert {"value": "30s", "from": "default"} == told["queue.visibility"]
    assert PASSWORD not in ran.out + ran.err


def test_config_needs_no_database(run: Run) -> None:
    """Where settings are wrong is found out before anything is connected."""
    ran = run("config", "--json")

    assert (0, None) == (ran.code, ran.document["database.url"]["value"])


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
def test_what_people_read_holds_no_password_and_no_traceback(
    run: Run, ready: dict[str, str], shop: Shop, command: tuple[str, ...]
) -> None:
    """L11."""
    shop.order(age=HOUR)

    ran = run(*command, **ready)

    assert (0, True) == (ran.code, bool(ran.out))
    assert not re.search(rf"{PASSWORD}|Traceback", ran.out + ran.err)


# How a pass ended: 0, 3, 4.


def test_a_job_that_raised_is_told_by_the_exit_code(
    run: Run, ready: dict[str, str], shop: Shop, app: App
) -> None:
    shop.order(age=HOUR)

    with broken(app, "Order"):
        ran = run("sweep", "--json", **ready)

    assert (3, 1) == (ran.code, ran.document["jobs"]["retried"])


def test_a_job_that_died_is_told_by_the_exit_code(
    run: Run, ready: dict[str, str], app: App
) -> None:
    send(app, "NO_SUCH_TYPE", {})

    ran = run("drain", "--json", **ready)

    assert (3, 1) == (ran.code, ran.document["jobs"]["dead"])


def test_a_job_that_was_only_postponed_is_no_error(
    run: Run, ready: dict[str, str], shop: Shop, connect: Callable[[], Connection]
) -> None:
    order_id = shop.order(age=HOUR)
    somebody = connect()
    somebody.execute(text('select 1 from "Order" where id = :id for update'), {"id": order_id})

    ran = run("sweep", "--json", **ready)

    assert (0, True) == (ran.code, ran.document["jobs"]["postponed"] >= 1)


def test_the_brake_enqueues_nothing_and_waits_for_a_person(
    run: Run, ready: dict[str, str], shop: Shop, app: App
) -> None:
    """L7: a wrong clock or a bad migration must not cancel everything."""
    orders = [shop.order(age=HOUR), shop.order(age=HOUR)]

    ran = run("sweep", "--json", **ready | {"SWEEPER_SAFETY__MAX_PER_SWEEP": "1"})

    expected = dict.fromkeys(FOUND, 0) | {"found": 2, "braked": 2}
    assert (4, expected) == (ran.code, ran.document["rules"]["expire_dp"])
    assert ([], ["pending_dp"] * 2) == (messages(app), [*map(shop.status, orders)])


def test_the_brake_says_how_it_is_answered(run: Run, ready: dict[str, str], shop: Shop) -> None:
    shop.many(2, age=HOUR)

    ran = run("sweep", **ready | {"SWEEPER_SAFETY__MAX_PER_SWEEP": "1"})

    assert 4 == ran.code
    assert "The brake held" in ran.err
    assert "--max N" in ran.err


def test_a_person_answers_the_brake_with_a_number(
    run: Run, ready: dict[str, str], shop: Shop
) -> None:
    orders = [shop.order(age=HOUR), shop.order(age=HOUR)]

    ran = run("sweep", "--max", "2", **ready | {"SWEEPER_SAFETY__MAX_PER_SWEEP": "1"})

    assert (0, ["cancelled"] * 2) == (ran.code, [*map(shop.status, orders)])


def test_a_number_that_is_too_small_is_no_answer(
    run: Run, ready: dict[str, str], shop: Shop
) -> None:
    shop.many(3, age=HOUR)

    assert 4 == run("sweep", "--max", "2", **ready).code


# Jobs by hand.


def test_enqueue_prints_the_id_of_the_message_that_it_sent(
    run: Run, ready: dict[str, str], app: App
) -> None:
    ran = run("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', **ready)

    (sent,) = messages(app)
    assert (0, f"{sent.msg_id}\n", "") == (ran.code, ran.out, ran.err)


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


def test_enqueue_writes_names_as_the_platform_spells_them(
    run: Run, ready: dict[str, str], app: App
) -> None:
    """Read tolerantly, write strictly."""
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
    ran = run("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--json", *options, **ready)

    (sent,) = messages(app, queue)
    assert {"msg_id": sent.msg_id, "queue": queue} == ran.document


def test_enqueue_may_delay_a_message(run: Run, ready: dict[str, str], app: App) -> None:
    run("enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--delay", "600", **ready)

    (sent,) = messages(app)
    assert 9 * MINUTE < sent.delay <= 10 * MINUTE


# Dead letters, and a queue that is emptied.


def test_a_dead_letter_is_sent_again(run: Run, ready: dict[str, str], app: App) -> None:
    send(app, "NO_SUCH_TYPE", {})
    run("drain", **ready)
    (letter,) = dead_letters(app)

    ran = run("dead", "retry", str(letter.msg_id), "--json", **ready)

    assert (0, {"retried": [letter.msg_id]}) == (ran.code, ran.document)
    assert (1, []) == (len(messages(app)), dead_letters(app))


def test_a_dead_letter_is_dropped(run: Run, ready: dict[str, str], app: App) -> None:
    send(app, "NO_SUCH_TYPE", {})
    run("drain", **ready)

    ran = run("dead", "drop", "--reason", "unknown_type", **ready)

    assert (0, "1 dead letters dropped\n") == (ran.code, ran.out)
    assert ([], []) == (messages(app), dead_letters(app))


@pytest.mark.parametrize("queue", [QUEUE, DEAD])
def test_a_queue_is_emptied_once_it_is_meant(
    run: Run, ready: dict[str, str], app: App, queue: str
) -> None:
    for _ in range(3):
        send(app, "ORDER_EXPIRE_DP", {"orderId": "c1"}, queue=queue)

    ran = run("purge", queue, "--yes", **ready)

    assert (0, f"3 messages deleted from {queue}\n") == (ran.code, ran.out)
    assert [] == messages(app, queue)


# The service.


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Have the service run until the test has seen enough of it."""
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


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_the_service_sweeps_and_stops_when_it_is_told(
    environment: dict[str, str], ready: dict[str, str], shop: Shop, told: signal.Signals
) -> None:
    order_id = shop.order(age=HOUR)

    with serving(environment | ready) as process:
        wait_until(lambda: shop.status(order_id) == "cancelled")
        process.send_signal(told)
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
def test_every_command_explains_itself(run: Run, command: str) -> None:
    ran = run(*command.split(), "--help")

    assert (0, "") == (ran.code, ran.err)
    assert f"Usage: sweeper {command}" in ran.out


def test_without_a_command_the_commands_are_listed(run: Run) -> None:
    ran = run()

    listed = set(re.findall(r"^  ([a-z]+)  ", ran.out + ran.err, re.MULTILINE))
    assert {command.split()[0] for command in COMMANDS} <= listed


def _furnish(database_url: str) -> None:
    """Make a platform with pgmq, on which `sweeper migrate` was never run."""
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
