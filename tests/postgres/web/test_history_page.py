"""The page of the history: its pictures, who may see it, and what it says without a database."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from sweeper.app import App
from sweeper.monitoring.history import Period
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.postgres import clock
from tests.support.web_client import Site


@pytest.fixture
def recorded(app: App) -> None:
    """Record a minute in which nothing happened, with a sample of the status."""
    writer = HistoryWriter(app.database, [], timedelta(days=90))
    writer.saw(app.status_reader.read())
    writer.record(clock.now())


@pytest.mark.usefixtures("recorded")
def test_the_page_has_a_picture_and_a_table_for_each_number(site: Site, app: App) -> None:
    answer = site.get("/history")

    titles = app.history.read(Period.HOUR, clock.now()).pictures
    assert 200 == answer.status
    assert "The last hour" in answer.text
    assert len(titles) == answer.text.count("<svg ") == answer.text.count("<table>")
    for title in titles:
        assert f"<h2>{title}</h2>" in answer.text
    assert 'aria-current="page">hour</a>' in answer.text


@pytest.mark.usefixtures("recorded")
def test_the_page_needs_no_style_and_no_script_of_its_own(site: Site) -> None:
    page = site.get("/history?period=day").text
    page = page.replace('<script src="/page/page.js" defer></script>', "", 1)
    for part in ("<script", "<style", " style=", " onload="):
        assert part not in page


@pytest.mark.parametrize("period", ["day", "month"])
def test_an_empty_history_says_so(site: Site, period: str) -> None:
    answer = site.get(f"/history?period={period}")
    assert 200 == answer.status
    assert f"Nothing is known of this {period} yet" in answer.text
    assert "<svg" not in answer.text


def test_an_unknown_period_is_refused(site: Site) -> None:
    answer = site.get("/history?period=%3Cscript%3E")
    assert 400 == answer.status
    assert "there are hour, day, month" in answer.text
    assert "<script>" not in answer.text


def test_without_its_table_the_page_says_that_nothing_is_lost(
    site: Site, connection: Connection
) -> None:
    connection.execute(text("drop table sweeper.history"))
    answer = site.get("/history")
    assert 200 == answer.status
    assert "The database does not answer" in answer.text


def test_from_elsewhere_the_page_needs_the_token(site: Site) -> None:
    assert 401 == site.get("/history", **{"x-forwarded-for": "203.0.113.7"}).status
