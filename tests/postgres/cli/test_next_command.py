"""Every error ends with the next command to type; the exit codes are contracts."""

import re
import shlex

import pytest
from sqlalchemy import Connection, text

from sweeper import catalog
from sweeper.cli.help import mistakes
from sweeper.errors import CatalogError, LockedError, SettingsError, SweeperError, UsageError
from tests.support.verbs import QUEUE, Run

NEXT = re.compile(r"(?:then )?run: (sweeper .+)")
AWAY = "postgresql://sweeper:geheim@127.0.0.1:1/jastip"


def following(told: tuple[int, str, str]) -> tuple[int, str]:
    """Return the exit code of a command, and what its last line says to type."""
    code, out, err = told
    assert "" == out
    assert err.startswith("sweeper: ")
    (command,) = NEXT.findall(err.splitlines()[-1])
    return code, command


@pytest.mark.parametrize(
    ("typed", "expected", "word"),
    [
        ("swep", "sweeper --help", "Did you mean 'sweep', 'sweeps'?"),
        ("dead lst", "sweeper dead --help", "Did you mean 'list'?"),
        ("status nonsense", "sweeper status --help", "unexpected extra argument"),
        ("--nonsense", "sweeper --help", "No such option: --nonsense"),
        ("sweep --dryrun", "sweeper sweep --help", "Did you mean --dry-run?"),
        ("sweep --max", "sweeper sweep --help", "'--max' requires an argument"),
        ("sweep --max many", "sweeper sweep --help", "'--max'"),
        ("explain", "sweeper explain --help", "Missing argument 'ORDER'"),
        ("explain a b", "sweeper explain --help", "usage: sweeper explain [OPTIONS] ORDER"),
        ("pause expire_dp", "sweeper pause --help", "Missing option '--reason'"),
        ("dead list --reason old", "sweeper dead list --help", "'exhausted', 'invalid'"),
        ("sweep nope", "sweeper sweep --help", "there are auto_refund, expire_dp"),
        ("overdue nope", "sweeper overdue --help", "there are auto_refund, expire_dp"),
        ("sweeps --rule nope", "sweeper sweeps --help", "there are auto_refund, expire_dp"),
        ("pause nope --reason x", "sweeper pause --help", "everything"),
        ("purge nope", "sweeper purge --help", f"there are {QUEUE}_high, {QUEUE}"),
        ("waiting --queue nope", "sweeper waiting --help", QUEUE),
        ("enqueue NOPE {}", "sweeper enqueue --help", "there are NOTIFICATION_SEND_WHATSAPP"),
        ("enqueue STOCK_RELEASE nope", "sweeper enqueue --help", "not JSON"),
        ("list nope", "sweeper list --help", "there are refunds"),
        ("acts --since soon", "sweeper acts --help", "'soon' is not a valid duration"),
        ("completion tcsh", "sweeper completion --help", "'bash', 'zsh', 'fish'"),
        ("dead retry", "sweeper dead retry --help", "no dead letters selected"),
        ("explain nope", "sweeper explain --help", "there is no order 'nope'"),
    ],
)
def test_a_slip_of_the_finger_is_answered_with_what_to_type(
    run: Run, typed: str, expected: str, word: str
) -> None:
    told = run(*shlex.split(typed))

    assert (2, expected) == following(told)
    assert word in told[2]


@pytest.mark.parametrize("command", ["status", "sweep", "drain", "dead list", "migrate"])
@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"DATABASE_URL": ""}, 78),
        ({"DATABASE_URL": "mysql://x/y"}, 78),
        ({"SWEEPER_QUEUE__BATCH": "many"}, 78),
        ({"SWEEPER_CONFIG": "/nowhere/sweeper.toml"}, 78),
        ({"DATABASE_URL": AWAY, "SWEEPER_DATABASE__CONNECT_TIMEOUT": "1s"}, 69),
    ],
    ids=["no url", "no such url", "no number", "no file", "away"],
)
def test_without_settings_or_database_the_doctor_is_next(
    run: Run, command: str, settings: dict[str, str], code: int
) -> None:
    told = run(*command.split(), **settings)

    assert (code, "sweeper doctor") == following(told)
    assert "geheim" not in told[2]


def test_without_a_schema_migrate_is_next(run: Run, connection: Connection) -> None:
    connection.execute(text("drop schema sweeper cascade"))

    assert (69, "sweeper migrate") == following(run("status"))


def test_without_pgmq_its_installation_is_next(run: Run, platform_url: str) -> None:
    told = run("status", DATABASE_URL=platform_url)

    assert (69, "sweeper migrate --install-pgmq") == following(told)


def test_a_lock_that_is_held_too_long_leads_to_the_doctor() -> None:
    told = mistakes.failed(LockedError("another session holds the lock scan"), "sweeper sweep")

    assert "run: sweeper doctor" == told.splitlines()[-1]


def test_the_command_that_failed_is_not_its_own_remedy() -> None:
    assert "sweeper: wrong" == mistakes.failed(SettingsError("wrong"), "sweeper doctor")


def test_an_error_that_names_a_command_already_is_told_as_it_is() -> None:
    error = UsageError("it is paused\nresume it with `sweeper resume TARGET`")

    assert f"sweeper: {error}" == mistakes.failed(error, "sweeper sweep")


def test_a_failure_of_its_own_is_told_as_it_is() -> None:
    assert "sweeper: the disk is full" == mistakes.failed(
        SweeperError("the disk is full"), "sweeper dead list"
    )


# A job package that cannot be loaded.


@pytest.fixture
def broken_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the catalog refuse the job package."""

    def refuse(_package: str) -> None:
        message = "two job files export a RULE named expire_dp"
        raise CatalogError(message)

    monkeypatch.setattr(catalog, "load", refuse)


@pytest.mark.parametrize("typed", ["status", "sweep", "drain", "refunds list", "dead list"])
def test_nothing_runs_without_its_jobs(run: Run, broken_package: object, typed: str) -> None:
    """L1: a sweep of no rule, or a drain that knows no job, would bury every message."""
    del broken_package
    code, out, err = run(*typed.split())

    assert (78, "") == (code, out)
    assert "two job files export a RULE named expire_dp" in err


@pytest.mark.parametrize("typed", ["--help", "sweep --help", "dead list --help", "--version"])
def test_the_help_is_there_without_its_jobs(run: Run, broken_package: object, typed: str) -> None:
    del broken_package
    code, out, err = run(*typed.split())

    assert (0, "") == (code, err)
    assert out.startswith(("Usage: sweeper", "sweeper "))


# The version.


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_one_line(run: Run, option: str) -> None:
    code, out, err = run(option, DATABASE_URL="")

    assert (0, "") == (code, err)
    assert re.fullmatch(r"sweeper \S+ \(jastip-sweeper, Python 3\.\d+\.\d+\S*\)\n", out)
