"""`sweeper explain`: the whole story of one order, and why it is, or is not, due."""

import pytest

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import HOUR, MINUTE, NOW, OpenApp, broken, make_visible, scan, sweep

pytestmark = pytest.mark.usefixtures("frozen")


def facts(app: App, key: str) -> list[str]:
    """Return what happened, without the parts that differ from run to run."""
    return [fact.what.partition(" (")[0] for fact in app.explainer.explain(key).facts]


def test_an_order_that_is_due_meets_every_term(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)

    verdict = app.explainer.explain(order).rules["expire_dp"]

    assert verdict.due
    assert {True} == set(verdict.terms.values())


def test_an_order_that_is_not_due_says_by_which_term(app: App, shop: Shop) -> None:
    """The rule's condition is evaluated term by term."""
    order = shop.order(age=29 * MINUTE)

    verdict = app.explainer.explain(order).rules["expire_dp"]

    assert not verdict.due
    assert ["it was placed by 2026-01-31 11:30:00 UTC"] == [
        term for term, holds in verdict.terms.items() if not holds
    ]


def test_a_column_that_is_null_meets_no_term(app: App, shop: Shop) -> None:
    order = shop.order(status="awaiting_validation", age=48 * HOUR)

    verdict = app.explainer.explain(order).rules["auto_refund"]

    assert (False, [True, None, True]) == (verdict.due, list(verdict.terms.values()))


def test_the_story_of_a_rejected_order_is_told_in_the_order_of_time(app: App, shop: Shop) -> None:
    order = shop.order(
        status="awaiting_validation",
        age=30 * HOUR,
        paid_ago=25 * HOUR,
        items=[(shop.product(), 2)],
        dp_amount=50_000,
    )
    sweep(app)

    told = facts(app, order)

    assert "rule auto_refund found it" == told[0]
    assert {
        "ORDER_AUTO_REFUND done at attempt 1",
        "refund of Rp 50000 is due",
        "notice ORDER_REJECTED is sent",
        "notice ORDER_MISSED is sent",
        "NOTIFICATION_SEND_WHATSAPP done at attempt 1",
    } < set(told)
    assert any(fact.startswith("gave back 2 of ") for fact in told)
    assert {NOW} == {fact.at for fact in app.explainer.explain(order).facts}


def test_a_job_that_waits_and_one_that_is_dead_are_told(open_app: OpenApp, shop: Shop) -> None:
    app = open_app(retry__max_retries=0)
    order = shop.order(age=HOUR)
    scan(app)
    waiting = [fact for fact in facts(app, order) if "waits in jastipin_jobs as message" in fact]
    with broken(app, "Order"):
        make_visible(app)
        sweep(app)
    dead = [fact for fact in facts(app, order) if fact.startswith("ORDER_EXPIRE_DP lies dead as")]

    assert (1, 1) == (len(waiting), len(dead))


def test_an_order_that_nobody_knows_has_no_story(app: App) -> None:
    story = app.explainer.explain("nix")

    assert ({}, ()) == (story.rules, story.facts)
