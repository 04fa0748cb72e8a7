"""The limits that customers read: texts and reasons name the limit that is set."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from jobs.limits import in_words
from jobs.whatsapp.texts import LANGUAGES, render_text, texts
from tests.support.verbs import HOUR, MINUTE, SECOND, OpenApp, Run, rows, sweep


@pytest.mark.usefixtures("frozen")
def test_a_cancelled_order_and_its_notice_name_the_limit_that_is_set(
    open_app: OpenApp, shop: Shop, connection: Connection
) -> None:
    order = shop.order(age=HOUR)

    sweep(open_app(rules__expire_dp__older_than="45m"))

    assert "dalam 45 menit." in shop.row("Order", order)["rejectionReason"]
    (notice,) = rows(connection, '"NotificationLog"')
    for language, limit in (("id", "45 menit"), ("en", "45 minutes")):
        assert limit in render_text(notice["eventType"], notice["metadata"], language)


@pytest.mark.usefixtures("frozen")
def test_a_rejected_order_and_its_notices_name_the_limit_that_is_set(
    open_app: OpenApp, shop: Shop, connection: Connection
) -> None:
    order = shop.order(status="awaiting_validation", age=50 * HOUR, paid_ago=49 * HOUR)

    sweep(open_app(rules__auto_refund__older_than="36h"))

    assert "dalam 36 jam." in shop.row("Order", order)["rejectionReason"]
    notices = rows(connection, '"NotificationLog"')
    assert 2 == len(notices)
    for notice in notices:
        assert "36 jam" in render_text(notice["eventType"], notice["metadata"])


def test_the_preview_names_the_limits_that_are_set(run: Run) -> None:
    code, out, _ = run(
        "messages",
        "preview",
        SWEEPER_RULES__EXPIRE_DP__OLDER_THAN="45m",
        SWEEPER_RULES__AUTO_REFUND__OLDER_THAN="36h",
    )

    assert (0, 0, 0) == (code, out.count("30 menit"), out.count("24 jam"))
    assert (1, 3) == (out.count("45 menit"), out.count("36 jam"))


@pytest.mark.parametrize(
    "event", [name for name, each in texts().items() if "{limit}" in each["id"]]
)
@pytest.mark.parametrize("limit", [None, "45", -1, 0, 10**40, True, [7]], ids=repr)
def test_a_notice_without_a_usable_limit_names_the_shipped_one(event: str, limit: object) -> None:
    """Rows that were queued by an earlier version, or by others, do not say it."""
    shipped = "30 menit" if event == "ORDER_CANCELLED" else "24 jam"

    assert shipped in render_text(event, {} if limit is None else {"limitSeconds": limit})


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("length", "words"),
    [
        (30 * MINUTE, ("30 menit", "30 minutes")),
        (24 * HOUR, ("24 jam", "24 hours")),
        (48 * HOUR, ("2 hari", "2 days")),
        (50 * HOUR, ("50 jam", "50 hours")),
        (90 * MINUTE, ("1 jam 30 menit", "1 hour 30 minutes")),
        (MINUTE + SECOND, ("1 menit 1 detik", "1 minute 1 second")),
        (timedelta(milliseconds=1), ("1 detik", "1 second")),
    ],
)
def test_a_limit_is_told_in_words(length: timedelta, words: tuple[str, str], language: str) -> None:
    assert words[LANGUAGES.index(language)] == in_words(length, language)
