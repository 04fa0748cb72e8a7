"""The page of the dead letters: filters, pages, and bulk acts that take what was seen."""

import json
import re
from html import unescape
from threading import Event, Thread
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.queue.dead_letters.dead_letter_queue import DeadLetterQueue
from sweeper.web import actions
from tests.support.depth import fill_dead_letters
from tests.support.hostile import SIGNS, fill_with_hostile_texts, hostile
from tests.support.verbs import DEAD, dead_letters, messages, send_raw
from tests.support.web_client import Response, Site, csrf_token, sign_in


def bury(app: App, count: int, **changes: object) -> list[int]:
    """Send *count* dead letters; return the ids of all there are."""
    letter = {
        "type": "ORDER_EXPIRE_DP",
        "key": "a",
        "reason": "exhausted",
        "error": "no luck",
        "fingerprint": "abc",
        "attempts": 4,
        "body": {"type": "ORDER_EXPIRE_DP", "payload": {"orderId": "a"}},
    }
    for _ in range(count):
        send_raw(app, json.dumps(letter | changes), queue=DEAD)
    return ids_of(app)


def ids_of(app: App) -> list[int]:
    """Return the ids of all dead letters."""
    return [letter.msg_id for letter in dead_letters(app)]


def listed(answer: Response) -> list[int]:
    """Return the ids in the table of a page."""
    assert 200 == answer.status, answer.text
    table = answer.text.rpartition("<tbody>")[2] if "<tbody>" in answer.text else ""
    return [int(number) for number in re.findall(r'href="/dead/(\d+)"', table)]


def link(answer: Response, label: str) -> str | None:
    """Return where the link with this label leads."""
    found = re.search(rf'<a [^>]*href="([^"]+)">{label}</a>', answer.text)
    return unescape(found[1]) if found else None


def hidden(answer: Response, action: str) -> dict[str, str]:
    """Return the hidden fields of the last form for *action*."""
    form = answer.text.rpartition(f'action="{action}"')[2].partition("</form>")[0]
    return {
        name: unescape(value)
        for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    }


class Person:
    """Somebody who is signed in."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.session = sign_in(site)
        self.seal = csrf_token(site, self.session)

    def get(self, path: str) -> Response:
        """Open a page."""
        return self.site.get(path, **self.session)

    def preview(self, do: str, **fields: str) -> Response:
        """Ask what an act would take."""
        form = {"seal": self.seal, "do": do} | fields
        return self.site.submit("/dead/preview", form, **self.session)

    def act(self, preview: Response, do: str, /, **fields: str) -> Response:
        """Press the button of a preview."""
        form = hidden(preview, "/dead") | {"do": do, "why": "mended"} | fields
        return self.site.submit("/dead", form, **self.session)


@pytest.fixture
def person(site: Site) -> Person:
    """Return somebody who is signed in."""
    return Person(site)


# The list.


def test_the_page_lists_fifty_and_leads_to_the_older_ones(app: App, site: Site) -> None:
    ids = bury(app, 120)

    first = site.get("/dead")
    second = site.get(str(link(first, "Older")))
    third = site.get(str(link(second, "Older")))

    assert (ids[:69:-1], ids[69:19:-1], ids[19::-1]) == (
        listed(first),
        listed(second),
        listed(third),
    )
    assert (None, "/dead") == (link(third, "Older"), link(third, "Newest"))
    assert "120 rows" in first.text


def test_a_page_goes_on_exactly_while_letters_come_and_go(app: App, site: Site) -> None:
    """None is shown twice and none is left out, whatever is retried or dies meanwhile."""
    ids = bury(app, 110)
    older = str(link(site.get("/dead"), "Older"))
    app.dead_letter_queue.drop(DeadLetterFilter(ids=[ids[0], ids[60], ids[100]]))
    bury(app, 5)

    assert [one for one in ids[59::-1] if one != ids[0]][:50] == listed(site.get(older))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"type": "ORDER_AUTO_REFUND"}, [1]),
        ({"type": "-"}, [4]),
        ({"reason": "rejected"}, [2]),
        ({"reason": "invalid"}, [4]),
        ({"fingerprint": "f2"}, [2]),
        ({"key": "k3"}, [3]),
        ({"key": "-"}, [4]),
        ({"older": "1h"}, [0, 1]),
        ({"newer": "1h"}, [2, 3, 4]),
        ({"newer": "3h", "older": "90m"}, [1]),
        ({"older": "2000-01-01"}, []),
        ({"type": "ORDER_AUTO_REFUND", "key": "k3"}, []),
        ({"type": "", "key": "  "}, [0, 1, 2, 3, 4]),
    ],
    ids=str,
)
def test_letters_are_filtered_by_each_field(
    app: App, site: Site, connection: Connection, query: dict[str, str], expected: list[int]
) -> None:
    """Also those that nobody can read, which have neither type nor key."""
    bury(app, 1)
    bury(app, 1, type="ORDER_AUTO_REFUND")
    bury(app, 1, reason="rejected", fingerprint="f2")
    bury(app, 1, key="k3")
    send_raw(app, "7", queue=DEAD)
    ids = ids_of(app)
    for number, hours in ((0, 5), (1, 2)):
        connection.execute(
            text(
                f"update pgmq.q_{DEAD} set enqueued_at = now() - interval '{hours} hours'"
                f" where msg_id = {ids[number]}"
            )
        )

    answer = site.get(f"/dead?{urlencode(query)}")

    assert [ids[number] for number in reversed(expected)] == listed(answer)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("older=soon", "is no age such as 30m, 5h or 2d"),
        ("before=x", "is no number"),
        ("key=%00", "a filter holds a character"),
        ("older=99999999999999d", "is no age"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(site: Site, query: str, told: str) -> None:
    answer = site.get(f"/dead?{query}")

    assert 400 == answer.status
    assert told in unescape(answer.text)


def test_a_code_filters_as_its_key_does(app: App, site: Site, shop: Shop) -> None:
    order = shop.order(code="JST-7")
    ids = bury(app, 1, key=order)
    bury(app, 1)

    answer = site.get("/dead?key=jst-7")

    assert ids == listed(answer)
    assert f'href="/orders/{order}">JST-7 <small>' in answer.text


def test_hostile_letters_are_shown_and_not_obeyed(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    fill_with_hostile_texts(app, shop, connection)
    bury(app, 1, key="a/../b?c#d")
    person = Person(site)
    pages = [
        person.get("/dead"),
        person.get(f"/dead?fingerprint={quote(hostile('fingerprint'))}"),
        person.preview("drop", fingerprint=hostile("fingerprint"), why="x"),
    ]

    for page in pages:
        assert 200 == page.status
        assert [] == [sign for sign in SIGNS if sign in page.text]
    assert 'href="/orders/a%2F..%2Fb%3Fc%23d"' in pages[0].text
    assert "1 row that match" in pages[1].text
    assert hostile("fingerprint") == hidden(pages[2], "/dead")["fingerprint"]


# The acts.


def test_a_preview_says_how_many_and_changes_nothing(app: App, person: Person) -> None:
    bury(app, 3)
    bury(app, 2, error="another", fingerprint="def")

    answer = person.preview("retry", type="ORDER_EXPIRE_DP")

    assert "Retry 5 dead letters?" in answer.text
    assert ["3", "2"] == re.findall(r'<td class="figure">(\d)</td><td>ORDER', answer.text)
    assert {"count": "5", "newest": str(ids_of(app)[-1]), "type": "ORDER_EXPIRE_DP"}.items() <= (
        hidden(answer, "/dead").items()
    )
    assert 5 == len(ids_of(app))


def test_what_was_previewed_is_retried_with_who_and_why(app: App, person: Person) -> None:
    ids = bury(app, 3)
    kept = bury(app, 1, fingerprint="other")[-1]
    preview = person.preview("retry", fingerprint="abc")

    with capture_logs() as lines:
        answer = person.act(preview, "retry", why="the stock is mended")

    assert (303, "/dead?retried=3") == (answer.status, answer.headers["location"])
    assert ([kept], 3) == (ids_of(app), len(messages(app)))
    (told,) = lines
    what = f"3 dead letters: {', '.join(map(str, ids))}"
    expected = {"action": "retry", "reason": "the stock is mended", "detail": what}
    assert ("act.finished", expected) == (told["event"], {name: told[name] for name in expected})
    assert person.site.woken.is_set()


def test_what_was_previewed_is_dropped(app: App, person: Person) -> None:
    bury(app, 2)
    kept = bury(app, 1, reason="rejected")[-1]

    answer = person.act(person.preview("drop", reason="exhausted"), "drop")

    assert "/dead?dropped=2" == answer.headers["location"]
    assert ([kept], []) == (ids_of(app), messages(app))
    assert "2 dropped." in person.get(answer.headers["location"]).text


@pytest.mark.parametrize("do", ["retry", "drop"])
def test_an_act_is_refused_when_another_letter_has_come(app: App, person: Person, do: str) -> None:
    """L3: nobody retries or drops what he has not seen; the page shows the new number."""
    bury(app, 2)
    preview = person.preview(do)
    ids = bury(app, 1)

    answer = person.act(preview, do)

    assert (409, ids, []) == (answer.status, ids_of(app), messages(app))
    assert "Nothing was done: it was 2, now it is 3; look again" in answer.text
    assert "mended" in answer.text, "what was typed is kept"
    assert 303 == person.act(answer, do).status
    assert [] == ids_of(app)


def test_an_act_is_refused_when_one_letter_has_taken_the_place_of_another(
    app: App, person: Person
) -> None:
    first, _ = bury(app, 2)
    preview = person.preview("drop")
    app.dead_letter_queue.drop(DeadLetterFilter(ids=[first]))
    ids = bury(app, 1)

    answer = person.act(preview, "drop")

    assert (409, ids) == (answer.status, ids_of(app))
    assert "other dead letters match now: there are still 2" in answer.text


@pytest.mark.parametrize("do", ["retry", "drop"])
def test_a_form_that_is_sent_twice_acts_once(app: App, person: Person, do: str) -> None:
    """L1: it gets the first answer again; a second tab does not find what the first has taken."""
    bury(app, 3)
    preview, second_tab = person.preview(do), person.preview(do)

    first, again = person.act(preview, do), person.act(preview, do)
    second = person.act(second_tab, do)

    assert (303, first.headers["location"]) == (again.status, again.headers["location"])
    assert 409 == second.status
    assert "it was 3, now it is 0; look again" in second.text
    assert 3 * (do == "retry") == len(messages(app))


def test_two_forms_at_once_act_once(
    app: App, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(app, 3)
    preview, second_tab = person.preview("retry"), person.preview("retry")
    answers: list[Response] = []
    begun = Event()
    take = DeadLetterQueue.retry

    def slow(*arguments: Any, **options: Any) -> list[int]:
        begun.set()
        answers.append(person.act(second_tab, "retry"))
        return take(*arguments, **options)

    monkeypatch.setattr(DeadLetterQueue, "retry", slow)
    first = Thread(target=lambda: answers.append(person.act(preview, "retry")))
    first.start()
    first.join()

    assert begun.is_set()
    assert [409, 303] == [answer.status for answer in answers]
    assert 3 == len(messages(app))


def test_an_age_is_pinned_by_the_preview(app: App, person: Person, connection: Connection) -> None:
    """A letter that comes of age between look and act is not taken, and refuses nothing."""
    ids = bury(app, 2)
    for number, age in enumerate(("5 hours", "3595 seconds")):
        connection.execute(
            text(
                f"update pgmq.q_{DEAD} set enqueued_at = now() - interval '{age}'"
                f" where msg_id = {ids[number]}"
            )
        )

    preview = person.preview("drop", older="1h")
    connection.execute(
        text(f"update pgmq.q_{DEAD} set enqueued_at = enqueued_at - interval '1 ms'")
    )

    assert re.match(r"\d{4}-\d\d-\d\dT", hidden(preview, "/dead")["older"])
    assert 303 == person.act(preview, "drop").status
    assert ids[1:] == ids_of(app)


def test_a_large_act_takes_the_oldest_first_and_says_so(
    app: App, person: Person, monkeypatch: pytest.MonkeyPatch, connection: Connection
) -> None:
    monkeypatch.setattr(actions, "MOST_AT_ONCE", 500)
    monkeypatch.setattr("sweeper.web.pages.dead.MOST_AT_ONCE", 500)
    fill_dead_letters(connection, 1_200)

    preview = person.preview("drop")
    answer = person.act(preview, "drop")

    assert "The oldest 500 at once" in preview.text
    assert "/dead?dropped=500" == answer.headers["location"]
    assert 700 == app.dead_letter_queue.seen(DeadLetterFilter()).count


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"why": "  "}, 400),
        ({"why": "x" * 201}, 400),
        ({"do": "burn"}, 400),
        ({"count": "many"}, 400),
        ({"count": "9" * 40}, 409),
        ({"seal": "forged"}, 403),
    ],
    ids=str,
)
def test_an_act_without_what_it_needs_does_nothing(
    app: App, person: Person, fields: dict[str, str], status: int
) -> None:
    """CSRF: a form without this session's seal is refused; so is one without a reason."""
    ids = bury(app, 1)
    preview = person.preview("drop")

    assert status == person.act(preview, "drop", **fields).status
    assert ids == ids_of(app)


def test_the_dashboard_asks_for_each_cause(app: App, site: Site) -> None:
    """Its buttons carry the cause and the count that it shows, and lead to the preview."""
    bury(app, 2)
    bury(app, 1, fingerprint="other")
    person = Person(site)
    form = hidden(person.get("/"), "/dead/preview")  # of the last cause
    bury(app, 1, fingerprint="other")

    answer = person.site.submit("/dead/preview", form | {"do": "drop"}, **person.session)

    assert {
        "fingerprint": "other",
        "reason": "exhausted",
        "type": "ORDER_EXPIRE_DP",
        "count": "1",
    }.items() <= form.items()
    assert "It was 1 on the page that you come from; now it is 2." in answer.text


def test_the_buttons_are_for_who_is_signed_in(app: App, site: Site) -> None:
    bury(app, 1)

    assert "/dead/preview" not in site.get("/dead").text
    assert 401 == site.submit("/dead/preview", {"do": "drop"}).status
