"""The API under /api/v1: every answer is as described, lists have pages, acts are what they say."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.described import read, valid
from tests.support.verbs import (
    HIGH,
    HOUR,
    QUEUE,
    OpenApp,
    broken,
    dead_letters,
    messages,
    rows,
    send,
    send_raw,
    sweep,
)
from tests.support.web_client import TOKEN, Site, served

PHONE = "0812-3456-7890"
NOWHERE = "postgresql://sari@127.0.0.1:1/jastip"


@pytest.fixture
def site(app: App) -> Iterator[Site]:
    """Serve the app's page, and hold every answer of the API against its description."""
    with served(app) as site:
        yield site


def act(site: Site, path: str, body: object, method: str = "post", described: str = "") -> Any:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    answer = (
        site.post(f"/api/v1/{path}", body)
        if method == "post"
        else site.ask("DELETE", f"/api/v1/{path}", None, bearer)
    )
    assert 200 == answer.status, answer.text
    return valid(answer, method, described or path)


def kill(app: App, shop: Shop, number: int) -> list[str]:
    """Dead-letter the jobs of some orders; return the orders."""
    orders = [shop.order(age=HOUR) for _ in range(number)]
    with broken(app, "Order"):
        for order in orders:
            send(app, "ORDER_EXPIRE_DP", {"orderId": order}, maxRetries=0)
        app.sweep().drain()
    return orders


# Reading.


def test_every_read_is_as_described(app: App, site: Site, shop: Shop) -> None:
    """With rows of every kind: late and anomalous ones, waiting, dead and finished jobs."""
    killed, *_ = kill(app, shop, 2)
    done = shop.order(age=HOUR)
    sweep(app)
    shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c1"})
    act(site, "pauses", {"target": "outbound", "reason": "a test"})

    status, backlog = read(site, "status"), read(site, "backlog")
    queues, audit = read(site, "queues"), read(site, "audit")
    explained = read(site, f"keys/{done}", "keys/{key}")

    assert (2, 3) == (status["dead"]["count"], status["rules"]["expire_dp"]["overdue"])
    assert ["outbound"] == [pause["target"].rpartition("_")[2] for pause in status["pauses"]]
    assert killed in {late["key"] for late in backlog["late"]["expire_dp"]}
    assert [2] == [cause["count"] for cause in backlog["causes"]]
    assert (1, 2) == (queues["queues"][QUEUE]["ready"], queues["dead"])
    assert (1, []) == (audit["jobs"], audit["gaps"])
    assert (done, False) == (explained["key"], explained["rules"]["expire_dp"]["due"])
    assert explained["facts"]
    assert 1 == len(read(site, "pauses")["items"])


def test_what_nobody_knows_is_not_found(site: Site) -> None:
    for path, described in (
        ("keys/nothing", "keys/{key}"),
        *[(f"dead-letters/{one}", "dead-letters/{id}") for one in ("7", "x", "9" * 5_000, "٣")],
    ):
        answer = site.get(f"/api/v1/{quote(path)}")
        assert 404 == answer.status, path
        valid(answer, "get", described)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "before=yesterday", "before=5", "rule=none", "what=1"],
)
def test_a_query_that_means_nothing_is_refused(site: Site, query: str) -> None:
    answer = site.get(f"/api/v1/sweeps?{query}")

    assert 400 == answer.status
    valid(answer, "get", "sweeps")


def test_the_scans_are_listed_in_parts_without_a_gap(app: App, site: Site, shop: Shop) -> None:
    for _ in range(5):
        shop.order(age=HOUR)
        sweep(app)
    every = read(site, "sweeps", limit=200)["items"]

    parts, before = list[Any](), dict[str, Any]()
    while True:
        part = read(site, "sweeps", limit=3, **before)
        parts += part["items"]
        if part["next"] is None:
            break
        before = {"before": part["next"]}

    assert 10 == len(every)
    assert every == parts
    assert 5 == len(read(site, "sweeps", rule="expire_dp")["items"])


def test_the_dead_letters_are_listed_in_parts_by_what_they_have(
    app: App, site: Site, shop: Shop
) -> None:
    orders = kill(app, shop, 5)
    first = read(site, "dead-letters", limit=2)
    second = read(site, "dead-letters", limit=2, before=first["next"])
    third = read(site, "dead-letters", limit=2, before=second["next"])

    keys = [one["key"] for part in (first, second, third) for one in part["items"]]
    assert list(reversed(orders)) == keys
    assert third["next"] is None
    assert 1 == len(read(site, "dead-letters", key=orders[0])["items"])
    assert [] == read(site, "dead-letters", reason="crashed")["items"]
    assert "body" not in first["items"][0]


def test_a_dead_letter_is_shown_with_its_body_masked(app: App, site: Site) -> None:
    """L11: neither a phone nor a secret leaves, whoever wrote it."""
    body = f'{{"type": "NOTHING", "payload": {{"phone": "{PHONE}", "token": "swp_{"x" * 43}"}}}}'
    send_raw(app, body)
    app.sweep().drain()
    (letter,) = dead_letters(app)

    shown = read(site, f"dead-letters/{letter.msg_id}", "dead-letters/{id}")

    assert ("NOTHING", "unknown_type") == (shown["type"], shown["reason"])
    assert "[phone]" in shown["body"]
    assert PHONE not in shown["body"]
    assert "xxx" not in shown["body"]


# Acting.


def test_a_sweep_only_enqueues_and_the_brake_answers_with_the_report(
    app: App, site: Site, shop: Shop
) -> None:
    for _ in range(2):
        shop.order(age=HOUR)

    held = site.post("/api/v1/sweeps", {"rules": ["expire_dp"], "max": 1})
    done = act(site, "sweeps", {"rules": ["expire_dp"]})

    assert (409, False) == (held.status, held.document["success"])
    assert 2 == valid(held, "post", "sweeps")["rules"]["expire_dp"]["braked"]
    assert 2 == done["rules"]["expire_dp"]["enqueued"] == len(messages(app))


def test_dead_letters_are_retried_by_id_and_dropped_by_cause(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    first, second, third = kill(app, shop, 3)
    ids = {letter.key: letter.msg_id for letter in dead_letters(app)}
    (fingerprint,) = {letter.fingerprint for letter in dead_letters(app)}

    retried = act(site, "dead-letters", {"do": "retry", "ids": [ids[first]]})
    dropped = act(site, "dead-letters", {"do": "drop", "fingerprint": fingerprint})

    assert {"count": 1, "ids": [ids[first]]} == retried
    assert {"count": 2, "ids": [ids[second], ids[third]]} == dropped
    assert [first] == [message.body["payload"]["orderId"] for message in messages(app)]
    log = [(row["key"], row["outcome"]) for row in rows(connection, "sweeper.job_log", "id")]
    assert [(first, "revived"), (second, "dropped"), (third, "dropped")] == log[-3:]


def test_dead_letters_are_dropped_only_as_they_were_seen(app: App, site: Site, shop: Shop) -> None:
    """Contract: what somebody acts on is what they have seen, or nothing."""
    kill(app, shop, 2)
    newest = read(site, "dead-letters", newer_than="1h")["items"][0]["msg_id"]
    choice = {"do": "drop", "newer_than": "1h", "expected": {"count": 2, "newest": newest}}
    kill(app, shop, 1)

    refused = site.post("/api/v1/dead-letters", choice)

    assert (409, "it was 2, now it is 3; look again") == (refused.status, refused.document["error"])
    valid(refused, "post", "dead-letters")
    assert 3 == len(dead_letters(app))
    newest = read(site, "dead-letters")["items"][0]["msg_id"]
    seen = {"expected": {"count": 3, "newest": newest}}
    assert 3 == act(site, "dead-letters", choice | seen)["count"]


def test_dead_letters_are_chosen_by_age(app: App, site: Site, shop: Shop) -> None:
    kill(app, shop, 1)

    assert [] == read(site, "dead-letters", older_than="1h")["items"]
    assert [] == read(site, "dead-letters", newer_than="2999-01-01T00:00:00Z")["items"]
    assert 0 == act(site, "dead-letters", {"do": "drop", "older_than": "1h"})["count"]
    assert 400 == site.post("/api/v1/dead-letters", {"do": "drop", "older_than": 1}).status
    assert 1 == len(dead_letters(app))


@pytest.mark.parametrize(
    "body",
    [
        {"do": "drop"},
        {"do": "drop", "ids": []},
        {"do": "drop", "type": ""},
        {"do": "purge", "ids": [1]},
        {"do": "drop", "ids": ["1"]},
        {"do": "drop", "ids": [1], "more": 1},
        {"do": "drop", "ids": [10**6]},
        {"do": "drop", "key": "a\0b"},
        {"do": "drop", "key": "\ud800"},
    ],
    ids=str,
)
def test_an_act_that_names_no_letters_touches_none(
    app: App, site: Site, shop: Shop, body: object
) -> None:
    """A request that says nothing must not mean everything."""
    kill(app, shop, 1)

    answer = site.post("/api/v1/dead-letters", body)

    assert 400 == answer.status
    valid(answer, "post", "dead-letters")
    assert 1 == len(dead_letters(app))


def test_a_pause_is_made_listed_and_ended(site: Site) -> None:
    made = act(site, "pauses", {"target": "expire_dp", "for": "2h", "reason": "wrong clock"})
    listed = read(site, "pauses")["items"]
    ended = act(site, "pauses/expire_dp", None, "delete", "pauses/{target}")

    assert [made] == listed
    assert ("web token 127.0.0.1", ["expire_dp"]) == (made["actor"], ended["resumed"])
    assert [] == read(site, "pauses")["items"]
    assert (
        404
        == site.ask(
            "DELETE", "/api/v1/pauses/nothing", None, {"authorization": f"Bearer {TOKEN}"}
        ).status
    )


def test_a_job_is_enqueued_with_priority_and_delay(app: App, site: Site) -> None:
    job = {"type": "ORDER_EXPIRE_DP", "payload": {"orderId": "c1"}}
    act(site, "jobs", {**job, "priority": "high", "delay": "1h"})

    (message,) = messages(app, HIGH)
    assert 3_500 < message.delay.total_seconds() <= 3_600
    for wrong in ({"type": "NOTHING", "payload": {}}, {**job, "payload": {}}, {**job, "delay": 5}):
        assert 400 == site.post("/api/v1/jobs", wrong).status


def test_a_method_that_an_address_has_not_is_refused_with_those_that_it_has(site: Site) -> None:
    answer = site.ask("PUT", "/api/v1/sweeps", None, {})

    assert 405 == answer.status
    assert {"GET", "HEAD", "POST"} == {*answer.headers["allow"].split(", ")}


def test_without_a_database_every_read_says_so(open_app: OpenApp) -> None:
    paths = (
        *("status", "backlog", "queues", "sweeps", "dead-letters", "pauses", "audit", "keys/c1"),
        *("acts", "history", "find?q=7", f"sweeps/{UUID(int=7)}", "waiting", "overdue/expire_dp"),
        *("anomalies/expire_dp", "lists/refunds"),
    )
    with served(open_app(url=NOWHERE, web__token=TOKEN, web__port=0)) as site:
        answers = {path: site.get(f"/api/v1/{path}") for path in paths}

        assert {503} == {answer.status for answer in answers.values()}
        assert "sari" not in "".join(answer.text for answer in answers.values())
