"""The page's access control: the tokens, sessions, CSRF tokens and the rate limit."""

import pytest

from sweeper.web import tokens
from sweeper.web.rate_limit import RateLimit
from sweeper.web.sessions import SESSION, Sessions
from sweeper.web.tokens import Scope, Token, digest

SECRET = "kunci-kunci"  # noqa: S105 -- used by tests only
TOKEN = Token("token", Scope.ACT, digest(SECRET))


def named(name: str, scope: Scope = Scope.ACT) -> tuple[str, Token]:
    """Return a new secret, and the token by which the settings know it."""
    secret = tokens.make()
    return secret, Token(name, scope, digest(secret))


def is_valid(sessions: Sessions, session: str, now: float) -> bool:
    return sessions.token_of(session, now) is not None


@pytest.mark.parametrize(
    ("given", "accepted"),
    [(SECRET, True), ("", False), (f"{SECRET} ", False), ("kunci-ß\udcff", False)],
)
def test_only_the_token_is_accepted(given: str, accepted: bool) -> None:  # noqa: FBT001 -- expected
    assert accepted is (Sessions([TOKEN]).accept(given) is not None)


def test_without_a_token_nothing_is_accepted() -> None:
    sessions = Sessions([])

    assert (False, None) == (sessions.exist, sessions.accept(""))


def test_each_of_several_tokens_is_accepted_as_itself() -> None:
    (first, grafana), (second, ci) = named("grafana", Scope.READ), named("ci")
    sessions = Sessions([TOKEN, grafana, ci])

    given = (SECRET, first, second, tokens.make())
    assert [TOKEN, grafana, ci, None] == [sessions.accept(each) for each in given]


def test_a_named_token_that_somebody_has_invented_is_not_accepted() -> None:
    """A digest tells nothing only of what cannot be guessed: a word could be found from it."""
    invented = "kunci-kunci-yang-sangat-panjang-sekali"

    assert Sessions([Token("ci", Scope.ACT, digest(invented))]).accept(invented) is None


def test_a_session_ends_with_its_token_and_others_go_on() -> None:
    (secret, old), (_, new) = named("old"), named("new")
    sessions = Sessions([old, new])
    mine, other = sessions.begin(old, now=0), sessions.begin(new, now=0)
    assert (old, new) == (sessions.token_of(mine, now=0), sessions.token_of(other, now=0))
    sessions.renew([new])

    assert (None, new) == (sessions.token_of(mine, now=0), sessions.token_of(other, now=0))
    assert sessions.accept(secret) is None


def test_a_token_that_comes_back_brings_no_session_with_it() -> None:
    """Who took it away because somebody else had it wants to see that person sign in again."""
    _, token = named("ci")
    sessions = Sessions([token])
    session = sessions.begin(token, now=0)
    sessions.renew([])
    sessions.renew([token])

    assert sessions.token_of(session, now=0) is None


def test_a_session_may_do_what_its_token_may_now() -> None:
    _, token = named("ci")
    sessions = Sessions([token])
    session = sessions.begin(token, now=0)
    sessions.renew([Token("ci", Scope.READ, token.digest)])

    found = sessions.token_of(session, now=0)
    assert found is not None
    assert False is found.may_act


def test_a_session_is_valid_until_it_expires() -> None:
    sessions = Sessions([TOKEN])
    session = sessions.begin(TOKEN, now=1_000)

    assert [True, True, False] == [
        is_valid(sessions, session, now) for now in (1_000, 1_000 + SESSION - 1, 1_000 + SESSION)
    ]


@pytest.mark.parametrize("forged", ["", ".", "0" * 64, "9999999999.ß.\udcff"])
def test_a_forged_session_is_not_valid(forged: str) -> None:
    sessions = Sessions([TOKEN])
    sessions.begin(TOKEN, now=0)

    assert False is is_valid(sessions, forged, now=0)


def test_a_session_of_another_process_is_not_valid() -> None:
    other = Sessions([TOKEN]).begin(TOKEN, now=0)

    assert False is is_valid(Sessions([TOKEN]), other, now=0)


def test_a_session_that_has_ended_is_not_valid_and_others_are() -> None:
    sessions = Sessions([TOKEN])
    mine, other = sessions.begin(TOKEN, now=0), sessions.begin(TOKEN, now=0)
    sessions.end(mine)
    sessions.end("")

    assert (False, True) == (is_valid(sessions, mine, now=0), is_valid(sessions, other, now=0))


def test_only_so_many_sessions_are_kept() -> None:
    sessions = Sessions([TOKEN])
    first, second, *_, last = [sessions.begin(TOKEN, now=0) for _ in range(101)]

    assert [False, True, True] == [is_valid(sessions, each, 0) for each in (first, second, last)]


def test_a_csrf_token_is_valid_for_one_session_only() -> None:
    """A form that was made for one session is not accepted in another."""
    sessions = Sessions([TOKEN])
    mine, other = sessions.begin(TOKEN, now=0), sessions.begin(TOKEN, now=0)

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
