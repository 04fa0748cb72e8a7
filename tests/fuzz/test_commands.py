"""Random command lines over all commands and options: no traceback, no hang, a known exit code."""

import io
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from typer.main import get_command

from jobs.demo.shop import Shop
from sweeper import catalog
from sweeper.app import App
from sweeper.cli.main import COMMANDS
from tests.fuzz.strangers import TEXTS, TYPES
from tests.support.length import LONG
from tests.support.terminal import controls
from tests.support.verbs import DEAD, HOUR, LOW, QUEUE, Run, drain, send, sweep

LINES = 10_000 if LONG else 150
PATIENCE = 60  # seconds for one command
KNOWN_CODES = {0, 2, 3, 4, 69, 78}

# `run` and `demo` start services; a watch has no end.
NOT_HERE = {("run",), ("demo",)}
ENDLESS = {"--watch", "--install-completion", "--show-completion"}

HUGE = "9" * 30

# What a process cannot be given is left out: an argument has no NUL, and no surrogates but those
# that stand for bytes which are no UTF-8.
ARGUMENTS = [text for text in TEXTS if "\0" not in text and "\ud800" not in text] + ["\udcff\udc80"]
WORDS = (
    *(
        "expire_dp",
        "auto_refund",
        "exhausted",
        "invalid",
        "high",
        "low",
        "1",
        "2",
        "7",
        "1d",
        "90d",
    ),
    *("JST-AAAAAA-AA", "sweeper", "postgres", "-1", "--", "-", "-h", "--help", "--yes"),
    *("--no-such-option", "=", "--json=1", QUEUE, LOW, DEAD, *TYPES),
    *('{"orderId": "c1"}', '{"orderIds": []}', '{"productId": "c1", "quantity": 1}'),
)


def commands(
    command: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], list[list[str]]]]:
    """Yield every command below *command*, and its options: names, and whether a value follows."""
    options = [
        [name, *([] if each.is_flag else ["VALUE"])]
        for each in command.params
        for name in (*each.opts, *each.secondary_opts)
        if name.startswith("-") and name not in ENDLESS
    ]
    yield path, options
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def all_commands() -> dict[tuple[str, ...], list[list[str]]]:
    """Return the commands as `main` knows them, with those of the job files."""
    added = {group.name for group in COMMANDS.registered_groups}
    for name, group in catalog.load("jobs").commands.items():
        if name not in added:
            COMMANDS.add_typer(group, name=name)
    found = commands(get_command(COMMANDS))
    return {path: options for path, options in found if path not in NOT_HERE}


TREE = all_commands()
VALUES = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(ARGUMENTS),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.integers().map(str),
    st.sampled_from(("missing", "folder", "empty.toml", "good.toml", "bad.toml", "plan.json")),
)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Draw a command line: a command with options of its own, some of others, and arguments."""
    path = draw(st.sampled_from(sorted(TREE)))
    options = TREE[path] if draw(st.integers(0, 9)) else TREE[draw(st.sampled_from(sorted(TREE)))]
    parts: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        named = draw(st.booleans())
        if named and options:
            name, *value = draw(st.sampled_from(options))
            parts += [name, *(draw(VALUES) for _ in value)]
        else:
            parts.append(draw(VALUES))
    before = draw(st.sampled_from((0, 0, 0, 0, 1)))
    return [*(["--config", draw(VALUES)] if before else []), *path, *parts]


@pytest.fixture
def furnished(app: App, shop: Shop, connection: Connection, tmp_path: Path) -> Path:
    """Add orders, sweeps, dead letters and a refund; return a folder with files to name."""
    shop.order(id="c1", code="JST-AAAAAA-AA", age=HOUR)
    shop.order(id="c2", status="awaiting_validation", age=50 * HOUR, paid_ago=25 * HOUR)
    sweep(app)
    shop.order(age=HOUR)
    for kind in TYPES:
        send(app, kind, {"orderId": "\x1b[2J"}, maxRetries=0)
    send(app, "MAKE_COFFEE", {})
    drain(app)
    assert connection
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.toml").touch()
    (tmp_path / "good.toml").write_text('[stock]\ntaken_at = "payment"\n')
    (tmp_path / "bad.toml").write_bytes(b'[queue]\nname = "\xff\n')
    (tmp_path / "plan.json").write_text("{}")
    return tmp_path


def test_every_command_line_ends_with_a_known_code_and_without_a_traceback(
    furnished: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract: the exit codes and the JSON documents, whatever is typed."""
    monkeypatch.chdir(furnished)
    signal.signal(signal.SIGALRM, _hang)

    @settings(
        max_examples=LINES,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(line=lines())
    @example(line=["explain", "\x1b[2J"])
    @example(line=["openapi", "\xad"])
    @example(line=["enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--delay", HUGE])
    @example(line=["enqueue", "ORDER_EXPIRE_DP", '{"orderId": "c1"}', "--delay", "9999999999"])
    @example(line=["sweep", "--max", HUGE, "--dry-run", "--json"])
    @example(line=["sweep", "--max", "9999999999", "--dry-run", "--json"])
    @example(line=["dead", "list", "--limit", HUGE, "--json"])
    @example(line=["dead", "list", "--limit", HUGE])
    @example(line=["dead", "list", "--before", HUGE])
    @example(line=["dead", "show", HUGE, "--json"])
    @example(line=["dead", "drop", HUGE, "--json"])
    @example(line=["purge", DEAD, "--older-than", "36500d", "--yes"])
    @example(line=["enqueue", "STOCK_RELEASE", '{"productId": "c", "quantity": 1e9}', "--json"])
    def check(line: list[str]) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("no plan"))
        signal.alarm(PATIENCE)
        try:
            code, out, err = run(*line, HOME=str(furnished))
        finally:
            signal.alarm(0)
        told = f"{line!r}: {code}\n{out[-1_000:]}\n{err[-1_000:]}"
        # An audit that finds something says so by its code.
        assert code in KNOWN_CODES or (
            code == 1 and "audit" in line and "this is a bug" not in err
        ), told
        assert "Traceback" not in out + err, told
        assert [] == controls(out + err), told
        if "--json" in line and out and not {"--", "-h", "--help", "-V", "--version"} & set(line):
            json.loads(out, parse_constant=pytest.fail)

    check()


def test_no_command_is_left_out() -> None:
    """A new command of the engine or of a job file is fuzzed by itself."""
    assert {("sweep",), ("dead", "retry"), ("refunds", "settle"), ("openapi",)} <= TREE.keys()
    assert ["--max", "VALUE"] in TREE["sweep",]


def _hang(_number: int, _frame: FrameType | None) -> None:
    pytest.fail(f"a command took longer than {PATIENCE} s")
