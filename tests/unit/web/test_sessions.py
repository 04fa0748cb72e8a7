"""The page's access control: the token, sessions, CSRF tokens and the rate limit."""

import pytest

from sweeper.web.rate_limit import RateLimit
from sweeper.web.sessions import SESSION, Sessions

TOKEN = "kunci-kunci"  # noqa: S105 -- used by tests only


@pytest.mark.parametrize(
    ("given", "accepted"),
    [(TOKEN, True), ("", False), (f"{TOKEN} ", False), ("kunci-ß\udcff", False)],
)
def test_only_the_token_is_accepted(given: str, accepted: bool) -> None:  # noqa: FBT001 -- expected
    assert accepted is Sessions(TOKEN).accept(given)


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_token_nothing_is_accepted(nothing: str | None) -> None:
    sessions = Sessions(nothing)

    assert (False, False) == (sessions.exist, sessions.accept(""))


def test_a_session_is_valid_until_it_expires() -> None:
    sessions = Sessions(TOKEN)
    session = sessions.begin(now=1_000)

    assert [True, True, False] == [
        sessions.is_valid(session, now) for now in (1_000, 1_000 + SESSION - 1, 1_000 + SESSION)
    ]


@pytest.mark.parametrize("forged", ["", ".", "0" * 64, "9999999999.ß.\udcff"])
def test_a_forged_session_is_not_valid(forged: str) -> None:
    sessions = Sessions(TOKEN)
    sessions.begin(now=0)

    assert False is sessions.is_valid(forged, now=0)


def test_a_session_of_another_process_is_not_valid() -> None:
    assert False is Sessions(TOKEN).is_valid(Sessions(TOKEN).begin(now=0), now=0)


def test_a_session_that_has_ended_is_not_valid_and_others_are() -> None:
    sessions = Sessions(TOKEN)
    mine, other = sessions.begin(now=0), sessions.begin(now=0)
    sessions.end(mine)
    sessions.end("")

    assert (False, True) == (sessions.is_valid(mine, now=0), sessions.is_valid(other, now=0))


def test_only_so_many_sessions_are_kept() -> None:
    sessions = Sessions(TOKEN)
    first, second, *_, last = [sessions.begin(now=0) for _ in range(101)]

    assert [False, True, True] == [sessions.is_valid(each, 0) for each in (first, second, last)]


def test_a_csrf_token_is_valid_for_one_session_only() -> None:
    """A form that was made for one session is not accepted in another."""
    sessions = Sessions(TOKEN)
    mine, other = sessions.begin(now=0), sessions.begin(now=0)

    assert (True, False) == (
        sessions.is_csrf_token(mine, sessions.csrf_token(mine)),
        sessions.is_csrf_token(mine, sessions.csrf_token(other)),
    )


def test_the_rate_limit_allows_a_burst_and_then_its_rate() -> None:
    limit = RateLimit(rate=2, burst=3)

    assert [True, True, True, False] == [limit.take("a", now=0) for _ in range(4)]
    assert [True, True, False] == [limit.take("a", now=1) for _ in range(3)]


def test_each_peer_has_its_own_limit_and_the_oldest_peers_are_forgotten() -> None:
    limit = RateLimit(rate=0, burst=1)
    limit.take("a", now=0)

    assert False is limit.take("a", now=0)
    assert all(limit.take(f"peer {number}", now=0) for number in range(2_000))
    assert True is limit.take("a", now=0)
