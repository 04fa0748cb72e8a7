"""The reminders of a final payment: two at most, a day apart, and none that is wrong."""

from datetime import timedelta
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import DAY, HOUR, MS, OpenApp, rows, sweep

pytestmark = pytest.mark.usefixtures("frozen")

RULE, KIND = "remind_final_payment", "ORDER_REMIND_FINAL_PAYMENT"
FIRST, LAST = "FINAL_PAYMENT_REMINDER", "FINAL_PAYMENT_LAST_REMINDER"


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


def test_a_rule_that_is_off_by_default_reminds_nobody(
    app: App, shop: Shop, connection: Connection
) -> None:
    accepted(shop)

    assert RULE not in sweep(app).rules
    assert [] == told(connection)


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
    accepted(shop)
    counts = []
    for _ in range(16):
        sweep(on)
        counts.append(len(told(connection)))
        frozen.tick(6 * HOUR)

    assert [1] * 4 + [2] * 12 == counts
    assert [(FIRST, "sent"), (LAST, "sent")] == told(connection)
