"""Pauses: what is paused is neither scanned nor read, and nothing is lost meanwhile."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.errors import UsageError
from sweeper.queue.look import look
from tests.support.verbs import (
    HOUR,
    OUTBOUND,
    QUEUE,
    OpenApp,
    Run,
    drain,
    messages,
    scan,
    sweep,
)

pytestmark = pytest.mark.usefixtures("frozen")


def pause(app: App, target: str, length: timedelta | None = HOUR) -> None:
    app.pauses.pause(target, length, "sari", "the shop's clock is wrong")


def end_pauses(app: App) -> None:
    """Let the time of every pause run out."""
    with app.database.transaction() as tx:
        tx.execute(text("update sweeper.pause set ends_at = now() - interval '1 ms'"))


@pytest.mark.parametrize("target", ["expire_dp", "everything"])
def test_a_paused_rule_is_not_scanned(app: App, shop: Shop, target: str) -> None:
    order = shop.order(age=HOUR)
    pause(app, target)

    report = sweep(app)

    assert "expire_dp" not in report.rules
    assert "pending_dp" == shop.status(order)
    assert [target] == [each.target for each in report.pauses]


def test_a_pause_of_one_rule_lets_the_other_go_on(app: App, shop: Shop) -> None:
    order = shop.order(status="awaiting_validation", age=50 * HOUR, paid_ago=25 * HOUR)
    pause(app, "expire_dp")

    sweep(app)

    assert "rejected" == shop.status(order)


@pytest.mark.parametrize("target", [QUEUE, "everything"])
def test_nothing_is_read_from_a_paused_queue(app: App, shop: Shop, target: str) -> None:
    """L2: the message waits as it is, and is not even counted as read."""
    order = shop.order(age=HOUR)
    scan(app)
    pause(app, target)

    assert Tally() == drain(app)
    assert [0] == [message.read_ct for message in messages(app)]

    app.pauses.resume(target)
    drain(app)

    assert "cancelled" == shop.status(order)


def test_a_pause_of_the_outbound_queue_keeps_the_notices(app: App, shop: Shop) -> None:
    shop.order(age=HOUR)
    pause(app, "outbound")

    sweep(app)

    assert {0} == {message.read_ct for message in messages(app, OUTBOUND)}


def test_a_pause_ends_by_itself(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    pause(app, "everything")
    end_pauses(app)

    assert not sweep(app).pauses
    assert "cancelled" == shop.status(order)


def test_a_pause_without_an_end_holds_until_it_is_resumed(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    pause(app, "everything", None)
    pause(app, "expire_dp")

    assert not sweep(app).rules
    assert ["everything", "expire_dp"] == app.pauses.resume("everything")

    sweep(app)

    assert "cancelled" == shop.status(order)


def test_a_paused_queue_counts_as_empty_for_the_watch(app: App, shop: Shop) -> None:
    """So that an idle service does not look five times a second."""
    shop.order(age=HOUR)
    scan(app)
    pause(app, QUEUE)

    with app.database.glance() as connection:
        assert not look(connection, app.queues).ready


def test_a_dry_run_shows_what_would_happen_without_the_pause(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    pause(app, "everything")

    report = sweep(app, dry_run=True)

    assert report.dry_run
    assert [(order, "done")] == [
        (expected.key, expected.outcome) for expected in report.dry_run.due["expire_dp"]
    ]
    assert "pending_dp" == shop.status(order)


def test_a_pause_holds_for_every_process(open_app: OpenApp, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    pause(open_app(), "everything")

    sweep(open_app())

    assert "pending_dp" == shop.status(order)


@pytest.mark.parametrize("target", ["expire", "", "nothing", f"{QUEUE}_dead", "a\x1b[31m"])
def test_what_does_not_exist_cannot_be_paused(app: App, target: str) -> None:
    with pytest.raises(UsageError, match="cannot be paused; there are everything, "):
        pause(app, target)
    with pytest.raises(UsageError, match="cannot be paused"):
        app.pauses.resume(target)


def test_a_pause_with_an_end_lasts_up_to_a_year(app: App) -> None:
    with pytest.raises(UsageError, match="up to 365d"):
        pause(app, "everything", timedelta(days=366))


def test_the_commands_pause_show_and_resume(
    run: Run, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_SAFETY__MAX_CLOCK_SKEW", "36500d")
    shop.order(age=HOUR)
    code, out, _ = run("pause", "expire_dp", "--for", "2h", "--reason", "wrong clock")
    assert (0, True) == (code, out.startswith("expire_dp is paused until "))

    assert "expire_dp is paused until" in run("status")[1]
    assert "expire_dp is paused until" in run("sweep")[2]
    assert "expire_dp is paused until" in run("drain")[2]

    assert (0, "resumed: expire_dp\n", "") == run("resume", "expire_dp")
    assert (0, "expire_dp was not paused\n", "") == run("resume", "expire_dp")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["everything"], "Missing option '--reason'"),
        (["everything", "--reason", " "], "say why, with --reason"),
        (["everything", "--reason", "x", "--for", "0s"], "must be longer than 0s"),
        (["everything", "--reason", "x", "--for", "soon"], "is not a valid duration"),
        (["dinner", "--reason", "x"], "'dinner' cannot be paused"),
    ],
)
def test_a_pause_that_makes_no_sense_is_a_usage_error(
    run: Run, app: App, arguments: list[str], message: str
) -> None:
    code, _, err = run("pause", *arguments)

    assert 2 == code
    assert message in err
    assert not app.pauses.read()
