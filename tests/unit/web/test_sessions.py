"""Tokens, sessions and buckets: what lets somebody in, and for how long."""

import pytest

from sweeper.web.rate_limit import RateLimit
from sweeper.web.sessions import SESSION, Sessions

TOKEN = "kunci-kunci"  # noqa: S105 -- nobody else has such a door


@pytest.mark.parametrize(
    ("given", "accepted"),
    [(TOKEN, True), ("", False), (f"{TOKEN} ", False), ("kunci-ß\udcff", False)],
)
def test_only_the_token_is_accepted(given: str, accepted: bool) -> None:  # noqa: FBT001 -- expected
    assert accepted is Sessions(TOKEN).accept(given)


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_token_nothing_is_accepted(nothing: str | None) -> None:
    keys = Sessions(nothing)

    assert (False, False) == (keys.exist, keys.accept(""))


def test_a_session_is_good_for_its_time() -> None:
    keys = Sessions(TOKEN)
    session = keys.session(now=1_000)

    assert [True, True, False] == [
        keys.is_valid(session, now) for now in (1_000, 1_000 + SESSION - 1, 1_000 + SESSION)
    ]


@pytest.mark.parametrize("forged", ["", ".", "9999999999.0.", "9999999999.ß.ß"])
def test_a_forged_session_is_none(forged: str) -> None:
    assert False is Sessions(TOKEN).is_valid(forged, now=0)


def test_a_session_cannot_be_made_longer() -> None:
    keys = Sessions(TOKEN)
    started, _, rest = keys.session(now=1_000).partition(".")

    assert False is keys.is_valid(f"{int(started) + 60}.{rest}", now=1_000)


def test_a_session_ends_with_its_process() -> None:
    assert False is Sessions(TOKEN).is_valid(Sessions(TOKEN).session(now=0), now=0)


def test_a_seal_is_for_one_session() -> None:
    """CSRF: a form that was made for one session is no form of another."""
    keys = Sessions(TOKEN)
    mine, other = keys.session(now=0), keys.session(now=0)

    assert (True, False) == (
        keys.is_csrf_token(mine, keys.csrf_token(mine)),
        keys.is_csrf_token(mine, keys.csrf_token(other)),
    )


def test_a_bucket_lets_a_burst_pass_and_then_so_many_a_second() -> None:
    bucket = RateLimit(rate=2, burst=3)

    assert [True, True, True, False] == [bucket.take("a", now=0) for _ in range(4)]
    assert [True, True, False] == [bucket.take("a", now=1) for _ in range(3)]


def test_peers_have_buckets_of_their_own_and_old_ones_are_forgotten() -> None:
    bucket = RateLimit(rate=0, burst=1)
    bucket.take("a", now=0)

    assert False is bucket.take("a", now=0)
    assert all(bucket.take(f"peer {number}", now=0) for number in range(2_000))
    assert True is bucket.take("a", now=0)
