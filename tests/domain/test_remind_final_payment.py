"""The reminders of a final payment: two at most, a day apart, and none that is wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Thread
from typing import Any, NoReturn

import pytest
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import Connection, text

from jobs import remind_final_payment as job
from jobs.demo.shop import Shop
from jobs.notices import announce
from jobs.orders import Holding, hold
from sweeper import Batch, OutsideError
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.judgement import assert_as_expected, snapshot
from tests.support.oracle import ACCEPTED, Habit, Order
from tests.support.verbs import (
    DAY,
    HOUR,
    MS,
    NOW,
    SECOND,
    Connect,
    OpenApp,
    Run,
    dead_letters,
    drain,
    job_outcomes,
    make_visible,
    messages,
    rows,
    scan,
    send,
    sweep,
    wait_for_a_blocked_session,
    with_call,
    with_handler,
)

pytestmark = pytest.mark.usefixtures("frozen")

RULE, KIND = "remind_final_payment", "ORDER_REMIND_FINAL_PAYMENT"
FIRST, LAST = "FINAL_PAYMENT_REMINDER", "FINAL_PAYMENT_LAST_REMINDER"
WHATSAPP = "NOTIFICATION_SEND_WHATSAPP"
FROZEN = {"SWEEPER_SAFETY__MAX_CLOCK_SKEW": "36500d"}  # commands read the clock that stands still
ON = {**FROZEN, "SWEEPER_RULES__REMIND_FINAL_PAYMENT__ENABLED": "true"}


def _due_at(order: Order, told: tuple[datetime, ...]) -> datetime | None:
    """Say from when on a reminder is due, by the issue's words alone; for the oracle."""
    begun = told[-1] if told else order.answered_at
    return begun + DAY if begun and order.status == ACCEPTED else None


REMINDING = Habit(KIND, (FIRST, LAST), _due_at)


@pytest.fixture
def on(open_app: OpenApp) -> App:
    """Return an app whose rule is on."""
    return open_app(rules__remind_final_payment__enabled=True)


def accepted(shop: Shop, ago: timedelta = DAY, **columns: Any) -> str:
    """Add an order that the jastiper accepted so long ago."""
    given: dict[str, Any] = {"final_amount": 100_000, "validated_at": shop.now - ago} | columns
    return shop.order(status="awaiting_final_payment", age=ago + HOUR, paid_ago=ago + HOUR, **given)


def told(connection: Connection) -> list[tuple[str, str]]:
    """Return the notices as (event, status), in the order in which they were written."""
    found = sorted(rows(connection, '"NotificationLog"'), key=lambda row: row["createdAt"])
    return [(row["eventType"], row["status"]) for row in found]


def change(connection: Connection, order_id: str, assignment: str) -> None:
    """Change an order as the platform does."""
    connection.execute(text(f'update "Order" set {assignment} where id = :id'), {"id": order_id})


# When a reminder is due.


def test_a_rule_that_is_off_by_default_reminds_nobody(
    app: App, shop: Shop, connection: Connection
) -> None:
    accepted(shop)

    assert RULE not in sweep(app).rules
    assert [] == told(connection)


def test_a_dormant_rule_has_no_work_that_waits(app: App, on: App, shop: Shop) -> None:
    """No alarm of overdue rows for a rule that nobody has switched on, and no figure of its own."""
    accepted(shop)

    asleep, awake = app.status_reader.read(), on.status_reader.read()

    assert (False, 1) == (RULE in asleep.rules, awake.rules[RULE].overdue)
    assert "final_payments_awaited" not in asleep.figures
    assert 1 == awake.figures["final_payments_awaited"]


def test_a_buyer_is_reminded_a_day_after_the_acceptance(
    on: App, shop: Shop, connection: Connection
) -> None:
    """The exact limit counts as due; the order stays as it is."""
    due, early = accepted(shop), accepted(shop, DAY - MS)
    before = [shop.row("Order", each) for each in (due, early)]

    report = sweep(on)

    assert (1, 1) == (report.rules[RULE].found, report.rules[RULE].enqueued)
    assert [(FIRST, "sent")] == told(connection)
    assert before == [shop.row("Order", each) for each in (due, early)]


def test_a_buyer_is_reminded_twice_and_never_again(
    on: App, shop: Shop, connection: Connection, frozen: FrozenDateTimeFactory
) -> None:
    """L1, L8: by the oracle, which knows the rule from this file, and by the audit."""
    accepted(shop)
    world = snapshot(connection, habits=(REMINDING,))
    counts = []
    for _ in range(16):
        sweep(on)
        world.swept(datetime.fromisoformat(f"{frozen()}+00:00"))
        counts.append(len(told(connection)))
        frozen.tick(6 * HOUR)

    assert [1] * 4 + [2] * 12 == counts
    assert_as_expected(on, connection, world, shop.now + 4 * DAY)


def test_after_three_days_down_there_are_not_two_reminders_at_once(
    on: App, shop: Shop, connection: Connection, frozen: FrozenDateTimeFactory
) -> None:
    accepted(shop, 4 * DAY)

    sweep(on)
    sweep(on)
    assert [(FIRST, "sent")] == told(connection)
    frozen.tick(DAY - SECOND)
    sweep(on)
    assert [(FIRST, "sent")] == told(connection)
    frozen.tick(SECOND)
    sweep(on)
    assert [(FIRST, "sent"), (LAST, "sent")] == told(connection)


def test_a_reminder_that_waits_for_the_provider_holds_back_the_second(
    on: App, shop: Shop, connection: Connection, frozen: FrozenDateTimeFactory
) -> None:
    """After an outage of days they would come at once; the day runs from the first's sending."""
    accepted(shop)
    sweep(on, scan_only=True)
    on.drain().step()
    assert [(FIRST, "queued")] == told(connection)
    frozen.tick(3 * DAY)

    assert 0 == scan(on, RULE).found
    drain(on)
    assert 0 == scan(on, RULE).found
    frozen.tick(DAY)
    sweep(on)

    assert [(FIRST, "sent"), (LAST, "sent")] == told(connection)


@pytest.mark.parametrize(
    ("columns", "anomalies"),
    [
        ({"final_paid_at": datetime(2026, 1, 31)}, 1),  # noqa: DTZ001 -- as the platform stores it
        ({"final_proof_url": "https://example.com/proof.jpg"}, 1),
        ({"final_payment_id": "pay_1"}, 1),
        ({"final_amount": 0}, 1),
        ({"validated_at": None}, 0),
    ],
    ids=str,
)
def test_an_order_that_may_be_paid_is_left_alone(
    on: App, shop: Shop, connection: Connection, columns: dict[str, Any], anomalies: int
) -> None:
    """L3: any evidence counts, and a person looks at what does not fit together."""
    accepted(shop, **columns)

    found = sweep(on).rules[RULE]

    assert (0, anomalies, []) == (found.found, found.anomalies, told(connection))


@pytest.mark.parametrize(("ago", "reminders"), [(15 * DAY - SECOND, 1), (15 * DAY, 0)])
def test_nobody_is_reminded_of_what_was_accepted_long_ago(
    on: App, shop: Shop, connection: Connection, ago: timedelta, reminders: int
) -> None:
    """Whoever switches the rule on does not write to all who have ever left an order."""
    accepted(shop, ago)

    sweep(on)

    assert reminders == len(told(connection))


@pytest.mark.parametrize("status", ["pending_dp", "awaiting_final_validation", "paid", "cancelled"])
def test_an_order_in_another_status_is_left_alone(on: App, shop: Shop, status: str) -> None:
    shop.order(status=status, validated_at=shop.now - 2 * DAY, dp_proof_url="x")

    assert 0 == scan(on, RULE).found


# A reminder that would be wrong by now.


@pytest.mark.parametrize(
    "assignment",
    ["status = 'cancelled'", "status = 'paid'", "\"finalProofUrl\" = 'x'", '"finalAmount" = 0'],
)
def test_an_order_that_was_paid_after_the_scan_is_skipped(
    on: App, shop: Shop, connection: Connection, assignment: str
) -> None:
    """L3: the handler asks the whole condition again, under the row lock."""
    order_id = accepted(shop)
    scan(on, RULE)
    change(connection, order_id, assignment)

    assert Tally(skipped=1) == drain(on)
    assert [(KIND, order_id, "skipped", "not due")] == job_outcomes(connection)
    assert [] == told(connection)


@pytest.mark.parametrize(
    "assignment", ["status = 'cancelled'", '"finalPaidAt" = now()', "id = 'gone'"]
)
def test_a_reminder_that_became_wrong_while_it_waited_is_not_sent(
    on: App, shop: Shop, connection: Connection, assignment: str
) -> None:
    """L3: it is asked again right before the call, so that no outage makes it wrong."""
    order_id = accepted(shop)
    calls = list[Any]()

    def call(prepared: Any, send_it: Callable[[Any], Any]) -> Any:
        calls.append(prepared)
        return send_it(prepared)

    watched = with_call(on, WHATSAPP, call)
    scan(watched, RULE)
    watched.drain().step()
    change(connection, order_id, assignment)

    drain(watched)

    assert ([(FIRST, "suppressed")], []) == (told(connection), calls)
    assert ("skipped", "what it says is no longer so") == job_outcomes(connection)[-1][2:]
    assert [] == dead_letters(watched)


def test_a_reminder_is_asked_again_before_each_further_call(
    on: App, shop: Shop, connection: Connection
) -> None:
    """L3: the provider refuses the first call, and the buyer pays before the second."""
    order_id = accepted(shop)

    def refuse(_prepared: Any, _call: Callable[[Any], Any]) -> NoReturn:
        message = "503"
        raise OutsideError(message)

    sweep(with_call(on, WHATSAPP, refuse))
    assert [(FIRST, "queued")] == told(connection)
    change(connection, order_id, "status = 'awaiting_final_validation'")
    make_visible(on)
    drain(on)

    assert [(FIRST, "suppressed")] == told(connection)


def test_a_buyer_who_wants_no_messages_gets_none(
    on: App, shop: Shop, connection: Connection
) -> None:
    accepted(shop, guest=shop.guest(notify_whatsapp=False))

    sweep(on)

    assert [(FIRST, "suppressed")] == told(connection)


# Exactly once, whatever is delivered twice.


def test_copies_of_a_job_write_one_reminder(on: App, shop: Shop, connection: Connection) -> None:
    """L1: in one batch, in two, and by hand."""
    order_id = accepted(shop)
    for _ in range(2):
        send(on, KIND, {"orderId": order_id})
    drain(on)
    send(on, KIND, {"orderId": order_id})
    drain(on)

    reasons = [(outcome, reason) for _, _, outcome, reason in job_outcomes(connection)]
    assert [("done", None), ("skipped", "duplicate")] == reasons[:2]
    assert ("skipped", "not due") == reasons[-1]
    assert [(FIRST, "sent")] == told(connection)


def test_a_job_whose_order_another_process_holds_is_postponed(
    on: App, shop: Shop, connection: Connection, connect: Connect
) -> None:
    """L5: a lock of somebody else costs no attempt."""
    order_id = accepted(shop)
    scan(on, RULE)
    other = connect()
    other.execute(text('select 1 from "Order" where id = :id for update'), {"id": order_id})

    assert Tally(postponed=1) == on.drain().step()
    other.rollback()
    make_visible(on)
    drain(on)

    assert [(FIRST, "sent")] == told(connection)


def test_a_process_that_began_before_another_committed_writes_no_second_reminder(
    on: App, open_app: OpenApp, shop: Shop, connection: Connection, connect: Connect
) -> None:
    """L1: the lock was free again, and the order's row says nothing of the other's reminder."""
    order_id = accepted(shop)
    # It has looked, and waits; the other comes and goes; then it gets the lock.
    late = text(
        'select o.id, true from (select pg_advisory_xact_lock(7) offset 0) as s, public."Order" o'
        " where o.id = any(:orders) for no key update of o"
    )

    def remind(batch: Batch[Any]) -> None:
        held = hold(batch, Holding(late, job._HOLDING.asking))  # type: ignore[arg-type]
        assert [] == held

    gate = connect()
    gate.execute(text("select pg_advisory_xact_lock(7)"))
    slow = with_handler(open_app(), KIND, remind)
    send(on, KIND, {"orderId": order_id})
    thread = Thread(target=slow.drain().step)
    thread.start()
    wait_for_a_blocked_session(connection)
    send(on, KIND, {"orderId": order_id})
    on.drain().step()
    gate.rollback()
    thread.join()

    outcomes = [row[2:] for row in job_outcomes(connection)]
    assert [("done", None), ("skipped", "not due")] == outcomes
    assert [FIRST] == [event for event, _ in told(connection)]


def test_a_job_that_failed_after_its_reminder_was_written_writes_one(
    on: App, shop: Shop, connection: Connection
) -> None:
    """L1: the reminder vanishes with the transaction, and comes with the retry."""
    accepted(shop)
    attempts = list[int]()

    def fails_once(batch: Batch[Any]) -> None:
        job.remind(batch)
        attempts.append(1)
        if len(attempts) == 1:
            message = "out of order"
            raise RuntimeError(message)

    flaky = with_handler(on, KIND, fails_once)
    sweep(flaky)
    make_visible(flaky)
    drain(flaky)

    assert (2, [(FIRST, "sent")]) == (len(attempts), told(connection))


def test_a_dead_job_keeps_its_order_from_being_found_until_a_person_decides(
    on: App, shop: Shop, connection: Connection, frozen: FrozenDateTimeFactory
) -> None:
    """L2, L8: it is counted as dead; once it is retried, one reminder is written."""
    order_id = accepted(shop)

    def refuse(batch: Batch[Any]) -> None:
        for each in batch.jobs:
            batch.reject(each, "no")

    sweep(with_handler(on, KIND, refuse))
    frozen.tick(2 * DAY)
    found = scan(on, RULE)
    assert (1, 0, 1) == (found.found, found.enqueued, found.dead)

    on.dead_letter_queue.retry(DeadLetterFilter())
    drain(on)

    assert [(FIRST, "sent")] == told(connection)
    assert "done" in [outcome for _, key, outcome, _ in job_outcomes(connection) if key == order_id]


# What people are shown.


def test_a_dry_run_renders_the_reminder_and_changes_nothing(
    run: Run, shop: Shop, connection: Connection
) -> None:
    """A dormant rule can be tried before it is switched on."""
    accepted(shop)

    code, out, _ = run("sweep", RULE, "--dry-run", "--json", **FROZEN)
    document = json.loads(out)

    assert (0, [], []) == (code, document["faults"], told(connection))
    (rendered,) = document["rendered"]["notices"]
    assert "pembayaran akhirnya belum kami terima" in rendered
    assert [FIRST] == [row["event_type"] for row in document["effects"]["notices"]]


def test_a_dry_run_finds_a_text_that_cannot_be_rendered(
    run: Run, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found before anything is sent, and the exit code says so."""
    accepted(shop)

    def fail(*_: object) -> NoReturn:
        message = "there is no such month"
        raise ValueError(message)

    monkeypatch.setattr("jobs.notices.render_text", fail)

    code, _, err = run("sweep", RULE, "--dry-run", **FROZEN)

    assert (3, True) == (code, "cannot be sent: notices: ValueError: there is no such month" in err)


def test_explain_tells_why_a_reminder_is_due_and_what_was_sent(
    run: Run, on: App, shop: Shop
) -> None:
    order_id = accepted(shop)
    _, before, _ = run("explain", order_id, **ON)
    sweep(on)
    _, after, _ = run("explain", order_id, **ON)

    assert "it waits for its final payment (status awaiting_final_payment)" in before
    assert f"notice {FIRST} is sent" in after


def test_explain_does_not_call_an_order_due_for_a_dormant_rule(app: App, shop: Shop) -> None:
    """Its terms are shown; what is the matter with the order is something else, or nothing."""
    found = app.explainer.explain(accepted(shop))

    assert (True, True) == (found.rules[RULE].due, RULE not in found.headline)
    assert [] == [step for step in found.possible if RULE in str(step)]


def test_a_notice_of_a_file_that_is_not_loaded_is_not_announced() -> None:
    """The first batch says so, and the dry run before it."""
    unknown = replace(job.REMINDER, name="SOMETHING_ELSE")

    with pytest.raises(LookupError, match="exports the notice SOMETHING_ELSE in NOTICES"):
        announce(Batch(None, NOW, NOW, [], {}, None), [], unknown)  # type: ignore[arg-type]


def test_the_command_shows_who_was_reminded(run: Run, on: App, shop: Shop) -> None:
    order_id = accepted(shop)
    sweep(on)

    code, out, _ = run("remind-final-payment", "waiting", "--json")
    _, shown, _ = run("remind-final-payment", "waiting")

    (row,) = json.loads(out)
    assert (0, order_id, "sent", None) == (
        code,
        row["order_id"],
        row["reminder"],
        row["last_reminder"],
    )
    assert order_id in shown


def test_a_job_by_hand_does_not_hurry_a_reminder(
    on: App, shop: Shop, connection: Connection
) -> None:
    order_id = accepted(shop, HOUR)
    on.enqueue(KIND, {"orderId": order_id})

    assert Tally(skipped=1) == drain(on)
    assert ([], 0) == (told(connection), len(messages(on)))
