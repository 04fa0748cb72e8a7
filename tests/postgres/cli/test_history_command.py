"""`sweeper history`: what it prints of the history that the service has recorded."""

import json
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.postgres import clock
from tests.support.verbs import HOUR, MINUTE, Run, sweep


@pytest.fixture
def swept(app: App, shop: Shop, connection: Connection, request: pytest.FixtureRequest) -> int:
    """Sweep three orders some minutes ago, and record it; return how many they were."""
    ago = getattr(request, "param", 0)
    for _ in range(3):
        shop.order(age=HOUR)
    sweep(app, "expire_dp")
    for table, minutes in (("sweep", ago + 3), ("job_log", ago + 2)):
        past = f"update sweeper.{table} set at = at - interval '{minutes} minutes'"
        connection.execute(text(past))
    HistoryWriter(app.database, [], timedelta(days=90)).record(clock.now())
    return 3


@pytest.mark.usefixtures("app")
def test_an_empty_history_says_so(run: Run) -> None:
    code, told, error = run("history")
    assert (0, "") == (code, error)
    assert "nothing is known of the last hour yet\n`sweeper run` records" in told


def test_the_document_has_all_series_with_the_same_steps(run: Run, swept: int) -> None:
    code, told, _ = run("history", "--json")

    document = json.loads(told)
    assert (0, "hour", 60) == (code, document["period"], document["step_seconds"])
    by_name = {one["name"]: one for one in document["series"]}
    assert by_name.keys() >= {"overdue", "found", "done", "waited_p95_seconds", "refunds_owed"}
    assert {60} == {len(one["points"]) for one in document["series"]}
    (begun,) = {one["points"][0]["at"] for one in document["series"]}
    assert begun == document["since"]
    length = datetime.fromisoformat(document["until"]) - datetime.fromisoformat(document["since"])
    assert length == HOUR
    assert swept == sum(point["value"] or 0 for point in by_name["done"]["points"])
    (waited,) = [p["value"] for p in by_name["waited_p50_seconds"]["points"] if p["value"]]
    assert MINUTE.total_seconds() / 1.11 < waited < 63


@pytest.mark.usefixtures("swept")
@pytest.mark.parametrize("swept", [62], indirect=True)
@pytest.mark.parametrize("period", ["day", "month"])
@pytest.mark.parametrize("columns", ["80", "50"])
def test_people_see_a_line_for_each_series(run: Run, period: str, columns: str) -> None:
    code, told, _ = run("history", period, COLUMNS=columns)

    assert 0 == code
    assert f"the last {period} to" in told
    for label in ("overdue", "done of these", "waited, 95 %", "money owed"):
        assert label in told


def test_ascii_is_ascii(run: Run, swept: int) -> None:
    assert swept
    assert "█" in run("history")[1]
    assert run("history", "--ascii")[1].isascii()


def test_an_unknown_period_is_a_usage_error(run: Run) -> None:
    code, _, error = run("history", "year")
    assert 2 == code
    assert "hour" in error
