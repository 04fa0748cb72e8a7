"""`sweeper explain`: all facts about one order, and why it is due or not."""

import shlex

import pytest
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.monitoring.about import facts as facts_of
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.verbs import (
    HOUR,
    MINUTE,
    NOW,
    QUEUE,
    OpenApp,
    broken,
    drain,
    make_visible,
    scan,
    send,
    sweep,
)

pytestmark = pytest.mark.usefixtures("frozen")


def facts(app: App, key: str) -> list[str]:
    """Return what happened to an order, without the parts that differ from run to run."""
    return [fact.what.partition(" (")[0] for fact in app.explainer.explain(key).facts]


def test_an_order_that_is_due_meets_every_term_of_the_rule(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)

    check = app.explainer.explain(order).rules["expire_dp"]

    assert check.due
    assert {True} == set(check.terms.values())


def test_an_order_that_is_not_due_shows_which_terms_it_fails(app: App, shop: Shop) -> None:
    """Each term of the rule's condition is evaluated separately."""
    order = shop.order(age=29 * MINUTE)

    check = app.explainer.explain(order).rules["expire_dp"]

    assert not check.due
    assert ["it was placed by 2026-01-31 11:30:00 UTC"] == [
        term for term, holds in check.terms.items() if not holds
    ]


def test_a_term_on_a_null_column_is_unknown(app: App, shop: Shop) -> None:
    order = shop.order(status="awaiting_validation", age=48 * HOUR)

    check = app.explainer.explain(order).rules["auto_refund"]

    assert (False, [True, None, True]) == (check.due, list(check.terms.values()))


def test_the_facts_about_a_rejected_order_are_in_order_of_time(app: App, shop: Shop) -> None:
    order = shop.order(
        status="awaiting_validation",
        age=30 * HOUR,
        paid_ago=25 * HOUR,
        items=[(shop.product(), 2)],
        dp_amount=50_000,
    )
    sweep(app)

    story = facts(app, order)

    assert "rule auto_refund found it" == story[0]
    assert {
        "ORDER_AUTO_REFUND done at attempt 1",
        "refund of Rp 50.000 is unpaid",
        "notice ORDER_REJECTED is sent",
        "notice ORDER_MISSED is sent",
        "NOTIFICATION_SEND_WHATSAPP done at attempt 1",
    } < set(story)
    assert any(fact.startswith("gave back 2 of ") for fact in story)
    assert {NOW} == {fact.at for fact in app.explainer.explain(order).facts}


def test_a_waiting_job_and_a_dead_job_are_shown(open_app: OpenApp, shop: Shop) -> None:
    app = open_app(retry__max_retries=0)
    order = shop.order(age=HOUR)
    scan(app)
    waiting = [fact for fact in facts(app, order) if "waits in jastipin_jobs as message" in fact]
    with broken(app, "Order"):
        make_visible(app)
        sweep(app)
    dead = [fact for fact in facts(app, order) if fact.startswith("ORDER_EXPIRE_DP is dead letter")]

    assert (1, 1) == (len(waiting), len(dead))


def test_an_unknown_order_has_no_rules_and_no_facts(app: App) -> None:
    explanation = app.explainer.explain("nix")

    assert ({}, ()) == (explanation.rules, explanation.facts)


# The whole life of an order.


def kinds(app: App, key: str) -> list[str]:
    """Return the kinds of an order's facts, oldest first."""
    return [fact.kind for fact in app.explainer.explain(key).facts]


def test_every_fact_has_a_kind_and_the_time_since_the_one_before(
    app: App, shop: Shop, frozen: FrozenDateTimeFactory
) -> None:
    order = shop.order(age=HOUR)
    scan(app)
    frozen.tick(90)
    drain(app)

    explained = app.explainer.explain(order)
    document = explained.as_json()["facts"]

    assert ["found", "done"] == kinds(app, order)[:2]
    assert [None, 90.0] == [fact["after_seconds"] for fact in document][:2]
    assert (90.0, 90.0) == (explained.took, explained.as_json()["took_seconds"])
    assert "effect" in kinds(app, order)
    assert explained.facts[0].sweep_id


def test_failed_tries_of_a_waiting_job_are_told_with_their_error(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": order}, retryCount=2, lastError="out of order")

    explained = app.explainer.explain(order)

    (failed,) = [fact for fact in explained.facts if fact.kind == "failed"]
    assert "ORDER_EXPIRE_DP has failed, 2 times so far, the last time with: out of order" == (
        failed.what
    )
    assert ("2", "out of order") == (explained.where[0].failures, explained.where[0].error)


def test_a_dead_letter_that_was_revived_or_dropped_is_told(
    open_app: OpenApp, shop: Shop, frozen: FrozenDateTimeFactory
) -> None:
    app = open_app(retry__max_retries=0)
    order = shop.order(age=HOUR)
    with broken(app, "Order"):
        sweep(app)
    frozen.tick(1)
    app.dead_letter_queue.retry(DeadLetterFilter(key=order))
    frozen.tick(1)
    drain(app)

    told = [kind for kind in kinds(app, order) if kind != "effect"]

    notified = "done"
    assert ["found", "dead", "revived", "done", notified] == told


@pytest.mark.parametrize(
    ("read", "state"),
    [
        (("now() - interval '1 s'", 0), "ready"),
        (("now() + interval '1 min'", 1), "in_flight"),
        (("now() + interval '1 min'", 0), "delayed"),
        (("now() + interval '9 years'", 0), "hidden"),
    ],
)
def test_where_a_message_is_now(
    app: App, shop: Shop, connection: Connection, read: tuple[str, int], state: str
) -> None:
    order = shop.order(age=HOUR)
    msg_id = send(app, "ORDER_EXPIRE_DP", {"orderId": order})
    connection.execute(text(f"update pgmq.q_{QUEUE} set vt = {read[0]}, read_ct = {read[1]}"))

    (place,) = app.explainer.explain(order).where

    told = (place.queue, place.msg_id, place.state, place.read_ct)
    assert (QUEUE, msg_id, state, read[1]) == told
    assert {"queue", "msg_id", "state", "visible_at"} < place.as_json().keys()


def commands(app: App, key: str) -> list[str | None]:
    """Return the commands that may be typed."""
    return [remedy.command for remedy in app.explainer.explain(key).possible]


def test_what_is_due_and_not_scanned_yet_can_be_swept(app: App, shop: Shop) -> None:
    order = shop.order(age=42 * MINUTE)

    explained = app.explainer.explain(order)

    assert ["sweeper sweep expire_dp"] == commands(app, order)
    assert "Due for expire_dp since 12 min; the next scan finds it." == explained.headline


def test_what_waits_in_the_queue_needs_nothing(app: App, shop: Shop) -> None:
    order = shop.order(age=42 * MINUTE)
    scan(app)
    make_visible(app)

    explained = app.explainer.explain(order)

    assert ((), f"message 1 waits in {QUEUE}.") == (
        explained.possible,
        explained.headline.rpartition("; ")[2],
    )


def test_what_the_brake_holds_is_looked_at_first(app: App, shop: Shop) -> None:
    """L7: a person decides."""
    order = shop.order(age=42 * MINUTE)
    shop.order(age=42 * MINUTE)
    scan(app, limit=1)

    assert [
        "sweeper sweep expire_dp --dry-run",
        "sweeper sweep expire_dp --max 2 --reason REASON",
    ] == commands(app, order)
    assert "stopped: too many are due" in app.explainer.explain(order).headline


def test_what_a_pause_holds_can_be_resumed(app: App, shop: Shop) -> None:
    order = shop.order(age=42 * MINUTE)
    app.pauses.pause("expire_dp", None, "ratih", "stock count")

    assert ["sweeper resume expire_dp"] == commands(app, order)
    assert "stock count" in app.explainer.explain(order).possible[0].what


def test_a_queue_that_is_paused_can_be_resumed(app: App, shop: Shop) -> None:
    order = shop.order(age=42 * MINUTE)
    scan(app)
    app.pauses.pause("everything", None, "ratih", "stock count")

    assert ["sweeper resume everything"] == commands(app, order)


def test_a_rule_that_is_off_is_told(open_app: OpenApp, shop: Shop) -> None:
    app = open_app(rules__expire_dp__enabled=False)
    order = shop.order(age=42 * MINUTE)

    assert [None] == commands(app, order)
    assert "the rule is off" in app.explainer.explain(order).headline


def test_a_dead_letter_can_be_retried_or_dropped(open_app: OpenApp, shop: Shop) -> None:
    app = open_app(retry__max_retries=0)
    order = shop.order(age=42 * MINUTE)
    with broken(app, "Order"):
        sweep(app)

    assert ["sweeper dead retry 1", "sweeper dead drop 1"] == commands(app, order)
    assert app.explainer.explain(order).headline.startswith("Dead: ORDER_EXPIRE_DP (exhausted).")


def test_a_refund_that_is_owed_can_be_settled(app: App, shop: Shop) -> None:
    """The job file says so; the order is one word of the command, whatever its id is."""
    hostile = "-x '; rm -rf /'"
    order = shop.order(
        id=hostile, status="awaiting_validation", age=30 * HOUR, paid_ago=25 * HOUR, dp_amount=5
    )
    sweep(app)

    (command,) = commands(app, order)

    assert ["sweeper", "refunds", "settle", "--reference", "REFERENCE", "--", hostile] == (
        shlex.split(command or "")
    )


def test_what_is_not_due_says_which_term_fails(app: App, shop: Shop) -> None:
    order = shop.order(age=29 * MINUTE)

    assert (
        "Not due: expire_dp would, but it is not so that it was placed by 2026-01-31 11:30:00 UTC."
        == app.explainer.explain(order).headline
    )


def test_a_key_with_very_many_endings_shows_the_last_ones(
    app: App, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_of, "MOST", 3)
    connection.execute(
        text(
            "insert into sweeper.job_log (job_type, key, msg_id, outcome, attempt, at)"
            " select 'ORDER_EXPIRE_DP', 'x', one, 'skipped', one, now() + one * interval '1 s'"
            " from generate_series(1, 9) as one"
        )
    )

    told = [fact.what for fact in app.explainer.explain("x").facts]

    assert [f"ORDER_EXPIRE_DP skipped at attempt {one}" for one in (7, 8, 9)] == told


def test_a_job_that_a_lock_keeps_waiting_leads_to_who_holds_it(
    app: App, shop: Shop, connection: Connection
) -> None:
    """Postponed again and again, it is not told that nothing needs to be done."""
    order = shop.order(age=HOUR)
    scan(app)
    postponed = "update pgmq.q_jastipin_jobs set message = message || jsonb_build_object({}, {})"
    for times in (4, 5):
        connection.execute(text(postponed.format("'postponed'", times)))
        connection.commit()
        steps = app.explainer.explain(order).possible
        assert (times == 5) is ("sweeper doctor" in [step.command for step in steps])


@pytest.mark.parametrize(("reads", "told"), [(1, []), (3, ["2 reads ended without a verdict"])])
def test_what_kills_its_workers_is_told_before_it_is_dead(
    app: App, shop: Shop, connection: Connection, reads: int, told: list[str]
) -> None:
    """Whoever is killed logs nothing, so that only the message knows."""
    order = shop.order(age=HOUR)
    scan(app)
    read = "update pgmq.q_jastipin_jobs set read_ct = {}, vt = clock_timestamp() + interval '20 s'"
    connection.execute(text(read.format(reads)))
    connection.commit()

    found = [fact.what for fact in app.explainer.explain(order).facts if "verdict" in fact.what]

    assert told == [what.partition(": ")[2].partition(" so far")[0] for what in found]
