"""The readings of the API beside their commands: one read model stays behind all faces."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.monitoring.history import History, HistoryReader, Period
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.postgres import clock
from sweeper.postgres.clock import iso
from sweeper.web import cache
from tests.support.depth import fill_queue, fill_refunds
from tests.support.described import read, valid
from tests.support.verbs import HIGH, HOUR, Run, rows, scan, send
from tests.support.web_client import Site

PHONE = "0812-3456-7890"


def same(value: Any) -> Any:
    """Return a document whose times are spelled as the API spells them."""
    if isinstance(value, dict):
        return {name: same(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [same(inner) for inner in value]
    try:
        return iso(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return value


def printed(run: Run, *command: str) -> Any:
    """Return the document that a command prints."""
    code, told, error = run(*command, "--json")
    assert 0 == code, error
    return same(json.loads(told))


def test_the_acts_are_those_of_the_command(site: Site, run: Run) -> None:
    for target in ("expire_dp", "auto_refund", "everything"):
        site.post("/api/v1/pauses", {"target": target, "reason": f"ask {PHONE}"})
    run("resume", "everything")

    first = read(site, "acts", limit=2)
    rest = read(site, "acts", limit=200, before=first["older"])

    assert printed(run, "acts", "--limit", "2") == first
    assert printed(run, "acts", "--before", str(first["older"])) == rest
    assert 4 == len(first["acts"]) + len(rest["acts"])
    assert ["resume"] == [act["action"] for act in read(site, "acts", action="resume")["acts"]]
    assert [] == read(site, "acts", actor="nobody", since="1h")["acts"]
    assert PHONE not in json.dumps(rest)


@pytest.mark.parametrize("period", Period)
def test_the_history_is_that_of_the_command(app: App, site: Site, run: Run, period: Period) -> None:
    """Either reading may be the first of another minute."""
    writer = HistoryWriter(app.database, [], app.settings.history.keep)
    writer.saw(app.status_reader.read())
    writer.record(clock.now())

    before = printed(run, "history", period)
    found = read(site, "history", period=period)

    assert same(found) in (before, printed(run, "history", period))
    assert "overdue" in [series["name"] for series in found["series"]]


def test_page_and_api_share_one_reading_of_the_history(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_history, periods = HistoryReader.read, list[Period]()

    def counted(reader: HistoryReader, period: Period, now: datetime) -> History:
        periods.append(period)
        return read_history(reader, period, now)

    monkeypatch.setattr(HistoryReader, "read", counted)
    monkeypatch.setattr(cache, "FRESH_FOR", 60.0)

    assert 200 == site.get("/history?period=day").status
    assert "day" == read(site, "history", period="day")["period"]
    assert [Period.DAY] == periods


def test_a_search_finds_what_the_command_finds(
    app: App, site: Site, run: Run, shop: Shop, connection: Connection
) -> None:
    order = shop.order(age=HOUR, code="JST-7")
    scan(app, actor="ratih", reason=f"ask {PHONE}")
    sweep_id = str(rows(connection, "sweeper.sweep", "at")[0]["id"])

    for text in ("jst-7", order, sweep_id, "1", "nothing"):
        found = read(site, "find", q=text)
        assert {"scans": []} | found == printed(run, "find", text) | {"scans": []}

    told = read(site, f"sweeps/{sweep_id}", "sweeps/{sweep_id}")
    (whole,) = (scan for scan in told["scans"] if scan["rule"] == "expire_dp")
    expected = printed(run, "find", sweep_id)["scans"]
    assert [scan["jobs"] for scan in expected] == [scan["jobs"] for scan in told["scans"]]
    assert [(order, "JST-7", None)] == [
        (job["key"], job["code"], job["outcome"]) for job in whole["jobs"]
    ]
    assert "ask [phone]" == whole["reason"]


def test_waiting_messages_are_those_of_the_command(
    app: App, site: Site, run: Run, shop: Shop, connection: Connection
) -> None:
    fill_queue(connection, 3)
    order = shop.order(code="JST-7")
    send(app, "ORDER_EXPIRE_DP", {"orderId": order})

    first = read(site, "waiting", limit=2)
    rest = read(site, "waiting", before=first["next"])

    assert printed(run, "waiting", "--limit", "2") == first
    assert printed(run, "waiting", "--before", first["next"]) == rest
    assert 4 == first["total"] == len(first["rows"]) + len(rest["rows"])
    mine = read(site, "waiting", key="jst-7", type="ORDER_EXPIRE_DP", newer_than="1h")
    assert [(order, "JST-7")] == [(row["key"], row["code"]) for row in mine["rows"]]
    assert [] == read(site, "waiting", newer_than="2999-01-01T00:00:00Z")["rows"]
    assert [] == read(site, "waiting", queue=HIGH)["rows"]
    assert 400 == site.get("/api/v1/waiting?queue=none").status
    assert 400 == site.get("/api/v1/waiting?before=7").status


def test_what_is_overdue_and_what_is_left_alone_are_as_the_commands_say(
    site: Site, run: Run, shop: Shop
) -> None:
    for _ in range(3):
        shop.order(age=HOUR)
    order = shop.order(age=2 * HOUR, code="JST-7")
    odd = shop.order(age=HOUR, dp_proof_url="https://example.com/dp.jpg")

    first = read(site, "overdue/expire_dp", "overdue/{rule}", limit=3)
    rest = read(site, "overdue/expire_dp", "overdue/{rule}", before=first["next"])
    left = read(site, "anomalies/expire_dp", "anomalies/{rule}")

    assert printed(run, "overdue", "expire_dp", "--limit", "3") == first
    assert printed(run, "overdue", "expire_dp", "--before", first["next"]) == rest
    assert [order] == [row["order_id"] for row in rest["rows"]]
    old = read(site, "overdue/expire_dp", "overdue/{rule}", older_than="90m", key="JST-7")
    assert rest["rows"] == old["rows"]
    assert printed(run, "anomalies", "expire_dp") == left
    assert [odd] == [row["key"] for row in left["rows"]]


def test_a_list_of_a_job_file_is_that_of_the_command(
    site: Site, run: Run, connection: Connection
) -> None:
    fill_refunds(connection, 3)

    first = read(site, "lists/refunds", "lists/{name}", limit=2)
    rest = read(site, "lists/refunds", "lists/{name}", before=first["next"])

    assert printed(run, "list", "refunds", "--limit", "2") == first
    assert printed(run, "list", "refunds", "--before", first["next"]) == rest
    for state in ("due", "settled"):
        some = read(site, "lists/refunds", "lists/{name}", state=state)
        assert {state} >= {row["state"] for row in some["rows"]}
        assert printed(run, "list", "refunds", "--state", state) == some


@pytest.mark.parametrize(
    ("path", "described"),
    [
        ("overdue/none", "overdue/{rule}"),
        ("anomalies/none", "anomalies/{rule}"),
        ("lists/none", "lists/{name}"),
        ("sweeps/none", "sweeps/{sweep_id}"),
        (f"sweeps/{UUID(int=7)}", "sweeps/{sweep_id}"),
    ],
)
def test_what_is_not_there_is_not_found(site: Site, path: str, described: str) -> None:
    answer = site.get(f"/api/v1/{path}")

    assert 404 == answer.status
    valid(answer, "get", described)


@pytest.mark.parametrize(
    "path",
    [
        "acts?action=none",
        "acts?since=0s",
        "acts?before=0",
        "history?period=year",
        "find",
        "find?q=",
        "find?q=%20",
        f"find?q={'x' * 501}",
        "find?q=a%00b",
        "waiting?older_than=yesterday",
        "waiting?key=a%00b",
        "overdue/expire_dp?before=x",
        "anomalies/expire_dp?older_than=1h",
        "lists/refunds?limit=201",
    ],
)
def test_a_question_that_means_nothing_is_refused(site: Site, path: str) -> None:
    assert 400 == site.get(f"/api/v1/{path}").status
