"""The page and its HTTP endpoints: the numbers, the access control and the write requests."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper import redact
from sweeper.app import App
from sweeper.errors import SettingsError
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.remedies import PAGE_REFUSED
from sweeper.web.server import Web
from tests.support.verbs import (
    HOUR,
    QUEUE,
    OpenApp,
    Run,
    broken,
    messages,
    rows,
    send,
    sweep,
)
from tests.support.web_client import TOKEN, Site, csrf_token, served, sign_in

READ_PATHS = (
    "/",
    "/dead",
    "/waiting",
    "/sweeps",
    "/anomalies",
    "/overdue?rule=expire_dp",
    "/lists/refunds",
    "/metrics",
    "/api/monitoring/queue/stats",
    "/api/monitoring/queue/health",
    "/api/monitoring/queue/info",
    "/api/openapi.json",
)
WRITE_PATHS = (
    "/api/sweep",
    "/api/test-queue",
    "/api/pause",
    "/api/resume",
    "/preview",
    "/sweep",
    "/dead",
    "/dead/preview",
    "/pause",
    "/resume",
    "/sign-out",
)
PHONE = "0812-3456-7890"
NOWHERE = "postgresql://sari@127.0.0.1:1/jastip"


@pytest.fixture
def site_without_database(open_app: OpenApp) -> Iterator[Site]:
    """Serve a page whose database cannot be reached."""
    with served(open_app(url=NOWHERE, web__token=TOKEN, web__port=0)) as site:
        yield site


def work(app: App, site: Site, shop: Shop) -> None:
    """Complete two orders, dead-letter one, and leave three messages, one of them in flight."""
    shop.order(age=HOUR)
    shop.order(age=HOUR)
    failing = shop.order(age=HOUR)
    app.completer.observe = site.counters.observe
    with broken(app, "Order", f"new.id = '{failing}'"):
        send(app, "ORDER_EXPIRE_DP", {"orderId": failing}, maxRetries=0)
        site.counters.add(sweep(app).jobs)
    for _ in range(3):
        send(app, "ORDER_EXPIRE_DP", {"orderId": "c1"}, retryCount=2)
    with app.database.transaction() as tx:
        app.queues.read(tx, [QUEUE], lease=timedelta(hours=1), quantity=1)


def metrics(site: Site) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and label values, in the order of the label names."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(site.get("/metrics").text)
        for sample in family.samples
    }


# The endpoints for the platform's dashboards.


def test_the_stats_endpoint_reports_the_queue(app: App, site: Site, shop: Shop) -> None:
    work(app, site, shop)

    answer = site.get("/api/monitoring/queue/stats").document

    (oldest, *_) = messages(app)
    queue = answer["data"]["queue"]
    assert (True, {"queue", "timestamp"}) == (answer["success"], answer["data"].keys())
    assert (2, 1, 1) == (queue["totalQueued"], queue["totalProcessing"], queue["totalFailed"])
    assert 4 == queue["totalCompleted"]
    assert 0 < queue["avgProcessingTime"] < 10_000
    assert {"id": oldest.msg_id + 1, "retryCount": 2} == {
        name: queue["oldestJob"][name] for name in ("id", "retryCount")
    }
    assert re.fullmatch(r"[\d-]{10}T[\d:.]{12}Z", queue["oldestJob"]["createdAt"])


def test_an_empty_queue_has_no_oldest_job(site: Site) -> None:
    assert "oldestJob" not in site.get("/api/monitoring/queue/stats").document["data"]["queue"]
    assert site.get("/api/monitoring/queue/info").document["data"]["oldestJob"] is None
    health = site.get("/api/monitoring/queue/health").document["data"]
    assert health["queue"]["oldestJobAge"] is None


def test_the_health_endpoint_reports_a_healthy_service(app: App, site: Site, shop: Shop) -> None:
    work(app, site, shop)

    answer = site.get("/api/monitoring/queue/health")

    data = answer.document["data"]
    assert (200, "healthy") == (answer.status, data["overall"])
    assert {"up": "up"} == {"up": data["database"]["status"]}
    assert {
        "status": "running",
        "uptime": data["worker"]["uptime"],
        "activeJobs": 0,
        "totalProcessed": 4,
        "totalFailed": 1,
        "successRate": "80.00",
        "pid": data["worker"]["pid"],
    } == data["worker"]
    assert (2, 1) == (data["queue"]["totalQueued"], data["queue"]["totalProcessing"])


def test_the_info_endpoint_reports_the_queue_and_the_worker(
    app: App, site: Site, shop: Shop
) -> None:
    work(app, site, shop)

    data = site.get("/api/monitoring/queue/info").document["data"]

    assert (QUEUE, 2, 1, 1, 4) == tuple(
        data[name] for name in ("queueName", "queued", "processing", "failed", "completed")
    )
    assert re.fullmatch(r"\d+ms", data["avgProcessingTime"])
    assert re.fullmatch(r"\d+s", data["worker"]["uptime"])
    assert (True, 4, 1) == tuple(
        data["worker"][name] for name in ("running", "processedTotal", "failedTotal")
    )
    assert {"id", "retries", "ageSeconds"} == data["oldestJob"].keys()


def test_a_service_that_is_not_ready_is_unhealthy(app: App) -> None:
    """L9: the response is a 503 and contains the reasons."""
    with served(app, healthy=False) as site:
        ready, health = site.get("/readyz"), site.get("/api/monitoring/queue/health")

        assert (503, False) == (ready.status, ready.document["ready"])
        assert "expire_dp was never scanned" in ready.document["reasons"]
        assert (503, "unhealthy") == (health.status, health.document["data"]["overall"])
        assert "the queues were never read" in health.document["error"]
        assert 200 == site.get("/livez").status


def test_a_service_with_a_hanging_loop_is_not_alive(app: App) -> None:
    nothing = timedelta()
    health = Health({}, HOUR, {"watch": nothing}, nothing)
    web = Web(app, Stats(), health, lambda: None)
    web.open()
    try:
        site = Site(str(web.address), Stats(), health, Event())
        assert (503, ["watch"]) == (
            site.get("/livez").status,
            site.get("/livez").document["hanging"],
        )
    finally:
        web.close()


def test_every_page_and_endpoint_reports_an_unreachable_database(
    site_without_database: Site,
) -> None:
    health = site_without_database.get("/api/monitoring/queue/health")

    assert (503, "down") == (health.status, health.document["data"]["database"]["status"])
    for name in ("stats", "info"):
        answer = site_without_database.get(f"/api/monitoring/queue/{name}")
        assert (503, {"success", "error"}) == (answer.status, answer.document.keys())
    assert "The database does not answer" in site_without_database.get("/").text
    refused = site_without_database.get("/dead")
    assert (503, True) == (refused.status, "docs/runbook.md#database-away" in refused.text)
    assert 200 == site_without_database.get("/livez").status


def test_the_description_is_the_one_that_the_command_prints(site: Site, run: Run) -> None:
    code, out, err = run("openapi")

    assert (0, "") == (code, err)
    assert site.get("/api/openapi.json").document == json.loads(out)


# The metrics for Prometheus.


def test_the_metrics_report_the_queue_and_the_jobs(app: App, site: Site, shop: Shop) -> None:
    work(app, site, shop)
    site.counters.scanned("expire_dp", "ok")

    samples = metrics(site)

    assert (2, 1) == tuple(
        samples["sweeper_queue_messages", QUEUE, state] for state in ("ready", "in_flight")
    )
    assert (1, 1) == (samples["sweeper_dead_letters",], samples["sweeper_overdue", "expire_dp"])
    assert 1800 <= samples["sweeper_oldest_overdue_seconds", "expire_dp"] < 1900
    assert (4, 1) == (samples["sweeper_jobs_total", "done"], samples["sweeper_jobs_total", "dead"])
    assert 1 == samples["sweeper_scans_total", "ok", "expire_dp"]
    assert (1, 1) == (samples["sweeper_ready",], samples["sweeper_database_up",])
    assert 0 <= samples["sweeper_last_scan_age_seconds", "expire_dp"] < 60
    assert 0 == samples["sweeper_refunds_owed",]
    for name in ("handling", "waiting"):
        assert 2 == samples[f"sweeper_job_{name}_seconds_count", "ORDER_EXPIRE_DP"]
        assert 0 < samples[f"sweeper_job_{name}_seconds_sum", "ORDER_EXPIRE_DP"]
        assert 2 == samples[f"sweeper_job_{name}_seconds_bucket", "+Inf", "ORDER_EXPIRE_DP"]


def test_the_metrics_follow_the_naming_rules_of_prometheus(
    app: App, site: Site, shop: Shop
) -> None:
    """https://prometheus.io/docs/practices/naming/."""
    work(app, site, shop)

    families = list(text_string_to_metric_families(site.get("/metrics").text))

    sweeper_families = [family for family in families if not family.name.startswith("process_")]
    assert [] == [
        f.name for f in sweeper_families if not re.fullmatch(r"sweeper(_[a-z]+)+", f.name)
    ]
    assert [] == [f.name for f in sweeper_families if not f.documentation.endswith(".")]
    assert [] == [f.name for f in sweeper_families if "_ms" in f.name or f.name.endswith("_count")]
    assert len(sweeper_families) == len({family.name for family in sweeper_families})


def test_without_a_database_the_metrics_of_the_process_remain(site_without_database: Site) -> None:
    samples = metrics(site_without_database)

    assert 0 == samples["sweeper_database_up",]
    assert 0 == samples["sweeper_jobs_total", "done"]
    assert ("sweeper_dead_letters",) not in samples


# Access control for reading.


@pytest.mark.parametrize("path", READ_PATHS)
@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "sweeper.example"}, {"x-forwarded-for": "203.0.113.7"}, {"host": "[broken"}],
    ids=str,
)
def test_requests_from_elsewhere_need_the_token_to_read(
    site: Site, path: str, elsewhere: dict[str, str]
) -> None:
    """A client behind a proxy and a page of another host name are both refused."""
    bearer = {"authorization": f"Bearer {TOKEN}"}

    assert (200, 401, 200) == tuple(
        site.get(path, **headers).status for headers in ({}, elsewhere, elsewhere | bearer)
    )


def test_the_page_can_be_made_public(open_app: OpenApp) -> None:
    with served(open_app(web__public=True, web__port=0)) as site:
        assert 200 == site.get("/", host="sweeper.example").status


def test_every_response_has_strict_security_headers(site: Site) -> None:
    for path in (*READ_PATHS, "/page/page.css", "/nothing", "/readyz"):
        headers = site.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "nosniff" == headers["x-content-type-options"]
        assert "DENY" == headers["x-frame-options"]
        assert "no-store" == headers["cache-control"]
        assert "server" not in headers


def test_requests_above_the_rate_limit_are_refused(site: Site) -> None:
    answers = (site.get("/livez") for _ in range(5_000))
    refused = next(answer for answer in answers if answer.status != 200)

    assert (429, "1") == (refused.status, refused.headers["retry-after"])


# Access control for writing.


@pytest.mark.parametrize("path", WRITE_PATHS)
def test_a_wrong_token_is_refused_and_logged(site: Site, path: str) -> None:
    """L11: the response reveals nothing; the log has the peer's address and not the token."""
    with capture_logs() as lines:
        answer = site.post(path, {}, token="tebakan")  # noqa: S106 -- a guess

    assert (401, "Bearer") == (answer.status, answer.headers["www-authenticate"])
    assert "wrong" not in answer.text
    assert [
        {
            "event": "web.refused",
            "log_level": "warning",
            "peer": "127.0.0.1",
            "reason": "wrong token",
            "remedy": str(PAGE_REFUSED),
        }
    ] == lines


@pytest.mark.parametrize("path", WRITE_PATHS)
def test_a_write_without_a_token_is_refused(site: Site, path: str) -> None:
    assert 401 == site.post(path, {}, token=None).status


def test_no_write_is_allowed_where_no_token_is_configured(open_app: OpenApp) -> None:
    with served(open_app(web__port=0)) as site:
        assert [403, 403] == [
            site.post("/api/sweep", {}, token=token).status for token in (TOKEN, None)
        ]
        assert "SWEEPER_WEB__TOKEN is not set" in site.get("/").text


def test_attempts_to_guess_the_token_are_rate_limited(site: Site) -> None:
    guesses = [site.post("/api/sweep", {}, token=f"tebakan {n}").status for n in range(12)]

    assert [401] * 10 + [429] * 2 == guesses


def test_the_session_cookie_is_restricted_to_this_site(site: Site) -> None:
    answer = site.submit("/sign-in", {"token": TOKEN})

    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {*answer.headers["set-cookie"].split("; ")}
    assert TOKEN not in answer.headers["set-cookie"]


def test_a_form_from_another_site_is_refused(site: Site, shop: Shop, app: App) -> None:
    """CSRF: a form is refused without this session's token, or from another origin."""
    shop.order(age=HOUR)
    session = sign_in(site)
    form = {"rules": "expire_dp", "seal": csrf_token(site, session)}

    with capture_logs() as lines:
        without_token = site.submit("/sweep", {"rules": "expire_dp"}, **session)
        foreign = site.submit("/sweep", form, origin="https://evil.example", **session)
        without_session = site.submit("/sweep", form)
        foreign_sign_in = site.submit("/sign-in", {"token": TOKEN}, origin="https://evil.example")

    assert [403, 403, 401, 403] == [
        a.status for a in (without_token, foreign, without_session, foreign_sign_in)
    ]
    assert ["foreign form"] * 3 == [line["reason"] for line in lines]
    assert [] == messages(app)


def test_signing_out_deletes_the_session_cookie(site: Site) -> None:
    session = sign_in(site)
    answer = site.submit("/sign-out", {"seal": csrf_token(site, session)}, **session)

    assert 303 == answer.status
    assert 'sweeper=""' in answer.headers["set-cookie"]


# Writing with the token.


def test_a_preview_changes_nothing(app: App, site: Site, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    answer = site.post("/api/sweep", {"dry_run": True, "rules": ["expire_dp"]}).document

    assert (True, [order]) == (answer["success"], answer["data"]["rules"]["expire_dp"]["orders"])
    assert [] == messages(app)


def test_a_previewed_sweep_enqueues_only_the_previewed_orders(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    """Orders that became due later wait for another sweep; orders no longer due are skipped."""
    seen = shop.order(age=HOUR)
    preview = site.post("/api/sweep", {"dry_run": True, "reason": "a customer called"}).document
    shop.order(age=HOUR)
    plan = {"plan": preview["data"]["sweep_id"]}

    first, second = (site.post("/api/sweep", plan).document["data"] for _ in range(2))

    assert [seen] == [message.body["payload"]["orderId"] for message in messages(app)]
    assert (1, 0) == tuple(each["rules"]["expire_dp"]["enqueued"] for each in (first, second))
    assert {"a customer called"} == {row["reason"] for row in rows(connection, "sweeper.sweep")}


def test_a_preview_expires(open_app: OpenApp, shop: Shop) -> None:
    app = open_app(web__token=TOKEN, web__port=0, safety__max_plan_age="1ms")
    shop.order(age=HOUR)
    with served(app) as site:
        plan = site.post("/api/sweep", {"dry_run": True}).document["data"]["sweep_id"]
        refused = site.post("/api/sweep", {"plan": plan})

    assert (400, True) == (refused.status, "too old" in refused.document["error"])
    assert [] == messages(app)


def test_only_the_latest_previews_are_kept(site: Site, shop: Shop) -> None:
    shop.order(age=HOUR)
    plans = [
        site.post("/api/sweep", {"dry_run": True}).document["data"]["sweep_id"] for _ in range(17)
    ]

    assert [400, 200] == [site.post("/api/sweep", {"plan": plan}).status for plan in plans[:2]]


def test_a_preview_says_which_text_cannot_be_rendered(
    site: Site, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found before anything is sent."""
    shop.order(age=HOUR)
    monkeypatch.setattr("jobs.notices.render_text", lambda *_: 1 // 0)
    session = sign_in(site)
    form = {"seal": csrf_token(site, session), "rules": "expire_dp"}

    assert (
        "Cannot be sent: notices: ZeroDivisionError"
        in site.submit("/preview", form, **session).text
    )


def test_the_page_shows_a_preview_and_runs_exactly_that(app: App, site: Site, shop: Shop) -> None:
    """The preview shows stock before and after, notices and anomalies, with phones masked."""
    tin = shop.product(stock=3, title="Matcha & <b>teh</b>")
    buyer = shop.participant(phone="0812-3456-7890")
    order = shop.order(age=HOUR, items=[(tin, 2)], participant=buyer, code="JST-EF2E7B-4A")
    anomaly = shop.order(age=HOUR, dp_proof_url="https://example.com/dp.jpg", code="<i>JST</i>")
    session = sign_in(site)
    token_field = {"seal": csrf_token(site, session)}

    shown = site.submit("/preview", token_field | {"rules": "expire_dp"}, **session).text
    (plan,) = re.findall('name="plan" value="([^"]+)"', shown)
    later = shop.order(age=HOUR)
    answer = site.submit("/sweep", token_field | {"plan": plan}, **session)

    for words in (
        'before">3</td>',
        'after">5</td>',
        "&lt;b&gt;teh",
        "ORDER_CANCELLED",
        f"JST-EF2E7B-4A <small>{order}</small>",
        f"&lt;i&gt;JST&lt;/i&gt; <small>{anomaly}</small>",
        "1 h",
    ):
        assert words in shown
    assert "3456" not in shown
    assert (303, "/?swept=1") == (answer.status, answer.headers["location"])
    assert later not in [message.body["payload"]["orderId"] for message in messages(app)]


def test_a_sweep_from_the_page_needs_a_preview(app: App, site: Site, shop: Shop) -> None:
    shop.order(age=HOUR)
    session = sign_in(site)
    form = {"seal": csrf_token(site, session), "rules": "expire_dp"}

    assert 400 == site.submit("/sweep", form, **session).status
    assert [] == messages(app)


def test_a_sweep_over_http_only_enqueues_and_is_recorded_in_the_ledger(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    shop.order(age=HOUR)
    with capture_logs() as lines:
        answer = site.post("/api/sweep", {"reason": "a customer called"}).document

    assert 1 == answer["data"]["rules"]["expire_dp"]["enqueued"]
    assert 1 == len(messages(app))
    assert site.woken.is_set()
    recorded = {(row["actor"], row["reason"]) for row in rows(connection, "sweeper.sweep")}
    assert {("web token 127.0.0.1", "a customer called")} == recorded
    assert ["sweep"] == [line["action"] for line in lines if line["event"] == "act.finished"]


def test_the_brake_can_be_released_over_http(site: Site, shop: Shop) -> None:
    """L7: the response reports the brake, and the field `max` allows more."""
    shop.many(1_001, age=HOUR)
    braked = site.post("/api/sweep")
    allowed = site.post("/api/sweep", {"max": 2_000})

    assert (409, 1_001) == (braked.status, braked.document["data"]["rules"]["expire_dp"]["braked"])
    assert (200, 1_001) == (
        allowed.status,
        allowed.document["data"]["rules"]["expire_dp"]["enqueued"],
    )


def test_a_job_can_be_enqueued_over_http(app: App, site: Site) -> None:
    answer = site.post("/api/test-queue", {"type": "ORDER_EXPIRE_DP", "orderId": "c1"}).document

    (message,) = messages(app)
    assert {"msg_id": message.msg_id, "queue": QUEUE} == answer["data"]
    assert {"orderId": "c1"} == message.body["payload"]


def test_the_platform_s_forms_of_a_payload_are_accepted(app: App, site: Site) -> None:
    site.post("/api/test-queue", {"type": "ORDER_AUTO_REFUND", "orderIds": ["c1", "c2"]})

    assert [{"orderIds": ["c1", "c2"]}] == [message.body["payload"] for message in messages(app)]


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/api/test-queue", {"orderId": "c1"}, "type"),
        ("/api/test-queue", {"type": "ORDER_EXPIRE"}, "there is no job type"),
        ("/api/test-queue", {"type": "ORDER_EXPIRE_DP", "orderId": 7}, "orderId"),
        ("/api/test-queue", {"type": "ORDER_EXPIRE_DP", "orderId": "\0"}, "NUL"),
        ("/api/test-queue", ["ORDER_EXPIRE_DP"], "no JSON object"),
        ("/api/sweep", {"rules": ["expire"]}, "there is no rule"),
        ("/api/sweep", {"max": 0}, "max"),
        ("/api/sweep", {"max": "7"}, "max"),
        ("/api/sweep", {"dry_run": 0}, "dry_run"),
        ("/api/sweep", {"dry_run": "yes"}, "dry_run"),
        ("/api/sweep", {"dryrun": True}, "dryrun"),
        ("/api/sweep", {"plan": "c0ffee"}, "make a new one"),
        ("/api/sweep", {"plan": "c0ffee", "max": 7}, "leave out rules and max"),
    ],
)
def test_an_invalid_request_is_refused(
    app: App, site: Site, path: str, body: object, word: str
) -> None:
    answer = site.post(path, body)

    assert (400, False) == (answer.status, answer.document["success"])
    assert word in answer.document["error"]
    assert [] == messages(app)


def test_a_request_body_that_is_too_large_is_refused(site: Site) -> None:
    assert 413 == site.post("/api/test-queue", {"type": "x" * 20_000}).status


def test_only_one_write_runs_at_a_time(
    app: App, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write request during another one gets a 409."""
    statuses: list[int] = []

    def slow(*_: object, **__: object) -> tuple[int, str]:
        statuses.append(site.post("/api/test-queue", {"type": "x"}).status)
        return 1, QUEUE

    monkeypatch.setattr(app, "enqueue", slow)
    first = site.post("/api/test-queue", {"type": "x"})

    assert ([409], 200) == (statuses, first.status)


# What must never be shown.


def test_no_phone_and_no_secret_is_on_any_page_or_endpoint(app: App, site: Site) -> None:
    """L11: this holds for whatever messages from outside and the reasons of sweeps contain."""
    redact.set_secrets(app.settings.secrets)
    send(app, PHONE, {})
    send(app, "NOTIFICATION_SEND_WHATSAPP", {"recipientPhone": PHONE})
    sweep(app, reason=f"call {PHONE}, token {TOKEN}")

    for path in READ_PATHS:
        text = site.get(path, **sign_in(site)).text
        assert (PHONE in text, TOKEN in text) == (False, False)


def test_an_unexpected_error_is_logged_and_not_shown(
    app: App, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError(TOKEN)

    monkeypatch.setattr(app, "enqueue", fail)
    with capture_logs() as lines:
        answer = site.post("/api/test-queue", {"type": "x"})

    assert (500, "unexpected; the log says more") == (answer.status, answer.document["error"])
    assert ["act.finished", "web.failed"] == [line["event"] for line in lines]


# The port.


def test_a_port_in_use_is_a_settings_error(open_app: OpenApp) -> None:
    """The error has exit code 78 and names the setting that makes the page optional."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        web = Web(open_app(web__port=port), Stats(), Health({}, HOUR, {}, HOUR), lambda: None)
        with pytest.raises(SettingsError, match="cannot be opened") as fault:
            web.open()

    assert 78 == fault.value.exit_code
    assert "web.required = false" in str(fault.value)


def test_the_service_runs_without_a_page_where_the_settings_allow_it(open_app: OpenApp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, capture_logs() as lines:
        port = other.getsockname()[1]
        app = open_app(web__port=port, web__required=False)
        web = Web(app, Stats(), Health({}, HOUR, {}, HOUR), lambda: None)
        web.open()
        web.close()

    assert [("web.failed", "error")] == [(line["event"], line["log_level"]) for line in lines]


# The whole service.


def test_the_service_with_its_page_stays_within_its_memory_limit(
    database_url: str, tmp_path: Path, shop: Shop
) -> None:
    """At most 120 MB are resident at idle, and the metrics are those of the running service."""
    shop.order(age=HOUR)
    log = tmp_path / "log.jsonl"
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        "SWEEPER_WEB__PORT": "0",
    }
    with (
        log.open("wb") as stdout,
        subprocess.Popen(
            [sys.executable, "-m", "sweeper", "run"], env=environment, stdout=stdout
        ) as service,
    ):
        try:
            opened = re.compile(r'"web.opened".*"address": "([^"]+)"')
            until(lambda: opened.search(log.read_text()))
            found = opened.search(log.read_text())
            assert found
            site = Site(found[1], Stats(), Health({}, HOUR, {}, HOUR), Event())
            until(lambda: metrics(site)["sweeper_jobs_total", "done"] == 2)
            samples = metrics(site)
            for path in READ_PATHS:
                site.get(path)
            status = Path(f"/proc/{service.pid}/status").read_text()
        finally:
            service.terminate()

    assert 1 <= samples["sweeper_scans_total", "ok", "expire_dp"]
    assert 1 == samples["sweeper_job_handling_seconds_count", "ORDER_EXPIRE_DP"]
    assert 1 == samples["sweeper_ready",]
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident
    assert int(resident[1]) / 1024 < 120


def until(holds: Callable[[], object]) -> None:
    """Return once *holds* is true."""
    for _ in range(600):
        if holds():
            return
        Event().wait(0.05)
    pytest.fail("the condition did not become true within thirty seconds")
