"""Forms that act once, whoever clicks how often."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from urllib.parse import urlencode

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from sweeper.errors import BusyError
from sweeper.web import once as once_module
from sweeper.web.once import Once


class Form:
    """A form's endpoint that counts; *outcome* is raised if it is an error."""

    def __init__(self, outcome: Exception | None = None) -> None:
        self.count = 0
        self.outcome = outcome
        self.begun = Event()
        self.goes_on = Event()
        self.goes_on.set()

    def __call__(self, _request: Request, _body: bytes) -> Response:
        """Act, once more."""
        self.begun.set()
        self.goes_on.wait(10)
        self.count += 1
        if self.outcome:
            raise self.outcome
        return PlainTextResponse(str(self.count))


def request(session: str = "a") -> Request:
    """Return a request with the cookie of a session."""
    return Request({"type": "http", "headers": [(b"cookie", f"sweeper={session}".encode())]})


def body(once: str) -> bytes:
    """Return the body of a form."""
    return urlencode({"do": "retry", "once": once}).encode()


def test_a_form_that_is_sent_again_gets_the_first_answer() -> None:
    form = Form()
    guarded = Once().once(form)

    answers = [guarded(request(), body("x")).body for _ in range(3)]

    assert ([b"1"] * 3, 1) == (answers, form.count)


def test_two_clicks_at_the_same_time_act_once() -> None:
    form = Form()
    form.goes_on.clear()
    guarded = Once().once(form)
    with ThreadPoolExecutor() as pool:
        clicks = [pool.submit(guarded, request(), body("x")) for _ in range(4)]
        form.goes_on.set()

    assert [b"1"] * 4 == [click.result().body for click in clicks]


def test_a_second_click_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """L9: what is stuck takes no more than its own share of the server."""
    monkeypatch.setattr(once_module, "_PATIENCE", 0.05)
    form = Form()
    form.goes_on.clear()
    guarded = Once().once(form)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(guarded, request(), body("x"))
        assert form.begun.wait(10)
        with pytest.raises(BusyError):
            guarded(request(), body("x"))
        form.goes_on.set()

    assert b"1" == first.result().body


@pytest.mark.parametrize(("session", "once"), [("b", "x"), ("a", "y")])
def test_another_form_and_another_session_act_for_themselves(session: str, once: str) -> None:
    form = Form()
    guarded = Once().once(form)

    guarded(request("a"), body("x"))
    guarded(request(session), body(once))

    assert 2 == form.count


def test_a_form_that_failed_may_be_sent_again() -> None:
    """L2: whoever reads that nothing was done must be able to do it."""
    form = Form(BusyError())
    guarded = Once().once(form)
    with pytest.raises(BusyError):
        guarded(request(), body("x"))
    form.outcome = None

    assert b"2" == guarded(request(), body("x")).body


def test_a_program_that_sends_no_number_acts_each_time() -> None:
    form = Form()
    guarded = Once().once(form)

    for _ in range(2):
        guarded(request(), b"do=retry")

    assert 2 == form.count


def test_only_so_many_answers_are_kept() -> None:
    form = Form()
    guarded = Once().once(form)

    for number in range(1_000):
        guarded(request(), body(str(number)))

    assert b"1001" == guarded(request(), body("0")).body
