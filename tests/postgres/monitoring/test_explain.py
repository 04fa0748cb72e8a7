"""`sweeper explain`: all facts about one order, and why it is due or not."""

import pytest

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import HOUR, MINUTE, NOW, OpenApp, broken, make_visible, scan, sweep

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
        "refund of Rp 50000 is due",
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
    dead = [fact for fact in facts(app, order) if fact.startswith("ORDER_EXPIRE_DP lies dead as")]

    assert (1, 1) == (len(waiting), len(dead))


def test_an_unknown_order_has_no_rules_and_no_facts(app: App) -> None:
    explanation = app.explainer.explain("nix")

    assert ({}, ()) == (explanation.rules, explanation.facts)
