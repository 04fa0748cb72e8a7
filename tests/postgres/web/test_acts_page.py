"""The acts in the console: written down with who and from where, and shown on a page."""

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.monitoring.acts import ActFilter
from sweeper.queue.acts import Action, By, Origin
from tests.support.verbs import HOUR, dead_letters, drain, send
from tests.support.web_client import Site, csrf_token, sign_in


def recorded(app: App) -> list[tuple[str, str, str, str]]:
    """Return the acts as action, actor, origin and outcome, the oldest first."""
    acts = app.act_reader.read(ActFilter()).acts
    return [(act.action, act.actor, act.origin, act.outcome) for act in reversed(acts)]


def test_what_a_program_asks_for_is_an_act_of_the_api(app: App, site: Site, shop: Shop) -> None:
    shop.many(2, age=HOUR)
    site.post("/api/pause", {"target": "auto_refund", "reason": "a restore"})
    site.post("/api/resume", {"target": "auto_refund"})
    site.post("/api/sweep", {"max": 1, "rules": ["expire_dp"]})
    site.post("/api/sweep", {"rules": ["expire_dp"], "reason": "a customer called"})
    site.post("/api/test-queue", {"type": "ORDER_EXPIRE_DP", "orderId": "o1"})

    assert [
        (action, "web token 127.0.0.1", "api", outcome)
        for action, outcome in (
            ("pause", "done"),
            ("resume", "done"),
            ("sweep", "refused"),
            ("sweep", "done"),
            ("enqueue", "done"),
        )
    ] == recorded(app)
    reasons = [act.reason for act in app.act_reader.read(ActFilter()).acts]
    assert [None, "a customer called", None, None, "a restore"] == reasons


def test_what_a_person_asks_for_is_an_act_of_the_page(app: App, site: Site, shop: Shop) -> None:
    shop.order(age=HOUR)
    send(app, "MAKE_COFFEE", {})
    drain(app)
    (letter,) = dead_letters(app)
    session = sign_in(site)
    seal = {"seal": csrf_token(site, session)}
    seen = {"count": "1", "newest": str(letter.msg_id)}
    forms = [
        ("/preview", {"rules": "expire_dp", "max": "9"}),
        ("/pause", {"target": "auto_refund", "for": "1h", "reason": "x"}),
        ("/resume", {"target": "auto_refund"}),
        ("/dead", {"fingerprint": letter.fingerprint, "do": "drop", "why": "x", **seen}),
    ]

    with capture_logs() as lines:
        for path, form in forms:
            assert site.submit(path, seal | form, **session).status < 400

    actions = ["dry_run", "pause", "resume", "drop"]
    assert [(action, "web token 127.0.0.1", "page", "done") for action in actions] == recorded(app)
    told = [line for line in lines if line["event"] == "act.finished"]
    assert actions == [line["action"] for line in told]
    assert f"dead letters: fingerprint {letter.fingerprint}" == told[-1]["subject"]
    assert f"1 dead letter: {letter.msg_id}" == told[-1]["detail"]


def test_a_request_that_makes_no_sense_is_no_act(app: App, site: Site) -> None:
    assert 400 == site.post("/api/pause", {"target": "dinner", "reason": "x"}).status
    assert 400 == site.post("/api/sweep", {"rules": ["dinner"]}).status
    assert 400 == site.post("/api/test-queue", {"type": "DINNER"}).status

    assert [] == recorded(app)


def write(app: App, count: int, *, reason: str = "", actor: str = "ratih") -> None:
    """Write down acts with numbers as their subjects."""
    for number in range(count):
        by = By(actor, Origin.COMMAND)
        with app.acts.recording(Action.RESUME, f"no {number}.", by, reason) as act:
            app.pauses.resume("everything", act)


def test_the_page_shows_who_did_what_and_why(app: App, site: Site) -> None:
    """L11: no phone number; and what people wrote is text."""
    write(app, 1, reason="<b>call</b> 0812-3456-7890\x1b", actor="ratih <root>")

    page = site.get("/acts").text

    for words in (
        "<h1>Done by hand</h1>",
        "no 0.",
        "resumed nothing",
        "ratih &lt;root&gt;",
        r"&lt;b&gt;call&lt;/b&gt; [phone]\x1b",
        '<a href="/acts" aria-current="page">Acts</a>',
    ):
        assert words in page
    assert "3456" not in page


def test_the_page_without_acts_says_so(site: Site) -> None:
    assert "<h1>Nothing was done by hand</h1>" in site.get("/acts").text


def test_the_page_is_filtered_and_leads_to_older_acts(app: App, site: Site) -> None:
    write(app, 60)
    write(app, 2, actor="sari & co")
    with app.acts.recording(Action.DRAIN, "every queue", By("ratih", Origin.COMMAND)):
        pass

    first = site.get("/acts?actor=ratih&action=resume&since=2h").text
    last = site.get("/acts?actor=sari+%26+co").text

    assert ("no 59." in first, "no 10." in first, "no 9." in first) == (True, True, False)
    assert "every queue" not in first
    assert "sari" not in first
    link = first.partition('<a href="/acts?action=resume&amp;actor=ratih&amp;since=2h&amp;before=')
    older = site.get(f"/acts?actor=ratih&before={link[2].partition(chr(34))[0]}").text
    assert ("no 10." in older, "no 9." in older) == (False, True)
    assert 'value="sari &amp; co"' in last
    assert 2 == last.count("sari &amp; co <span")


@pytest.mark.parametrize(
    "query",
    ["action=dance", "since=soon", "since=0s", "before=x", "before=0", "actor=" + "x" * 201],
)
def test_a_filter_that_makes_no_sense_is_refused(site: Site, query: str) -> None:
    assert 400 == site.get(f"/acts?{query}").status


def test_an_act_that_goes_on_is_shown_as_begun(app: App, site: Site) -> None:
    with app.acts.recording(Action.DRAIN, "every queue", By("ratih", Origin.UNIT)) as act:
        act.begin()

        page = site.get("/acts").text

    assert '<span class="tag bad">begun</span>' in page
    assert "it goes on, or its process was killed" in page


def test_the_dashboard_shows_the_last_three_acts(app: App, site: Site) -> None:
    write(app, 4)

    page = site.get("/").text

    assert ["no 3.", "no 2.", "no 1."] == [
        f"no {number}." for number in (3, 2, 1, 0) if f"no {number}." in page
    ]


def test_the_dashboard_is_there_where_the_acts_cannot_be_read(
    site: Site, connection: Connection
) -> None:
    """A login with grants from before the table still sees what is late."""
    connection.execute(text("alter table sweeper.act rename to elsewhere"))

    assert "All is swept" in site.get("/").text
    assert 503 == site.get("/acts").status
