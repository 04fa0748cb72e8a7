"""The examples of the help that only read: each runs as it stands, where its names are known."""

from pathlib import Path

import pytest

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.cli.help import panels
from sweeper.cli.help.first_steps import FIRST
from tests.support.verbs import HOUR, Run, broken, dead_letters, drain, send, sweep
from tests.unit.cli.examples import arguments, pages

# Their first lines say so; `dead retry` and others read with --dry-run only.
READING = {
    *(f"sweeper {name}" for name in ("doctor", "grants", "config", "openapi", "completion")),
    *(f"sweeper {name}" for name in ("manual", "dead list", "dead show", "token new")),
    *("sweeper messages preview", "sweeper refunds list", "sweeper refunds export"),
}
ENDLESS = "--watch"


def reading() -> list[str]:
    """Return the examples that change nothing, as they are typed."""
    lines = [
        example.line
        for page in pages()
        for example in page.examples
        if page.panel == panels.LOOK or page.name in READING or "--dry-run" in example.line
    ]
    lines += [example.line for example in FIRST if example.line != "sweeper demo"]
    return [line for line in dict.fromkeys(lines) if arguments(line) and ENDLESS not in line]


@pytest.fixture
def furnished(shop: Shop, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    """Add what the examples name: an order, and files; return the app."""
    shop.order(id="ckz1", code="JST-ABC123-XY", age=HOUR)
    with broken(app, "Order"):
        send(app, "ORDER_EXPIRE_DP", {"orderId": "ckz1"}, maxRetries=0)
        drain(app)
    sweep(app)
    (tmp_path / "new.toml").write_text("[queue]\nbatch = 100\n")
    monkeypatch.chdir(tmp_path)
    return app


def named(line: str, app: App) -> list[str]:
    """Return a line's arguments, with numbers that there are for those of messages."""
    (letter,) = dead_letters(app)
    numbers = {"42": str(letter.msg_id), "43": str(letter.msg_id), "4711": str(letter.msg_id)}
    return [numbers.get(word, word) for word in arguments(line)]


def test_every_example_that_only_reads_runs_as_it_stands(run: Run, furnished: App) -> None:
    """One database for all: each of them leaves it as it is."""
    ended = {line: run(*named(line, furnished)) for line in reading()}

    assert {} == {
        line: (code, err)
        for line, (code, out, err) in ended.items()
        if (code, err) != (0, "") or not out
    }


def test_most_examples_only_read() -> None:
    """A newcomer may try them; a test that ran none would say nothing."""
    assert len(reading()) > 40
