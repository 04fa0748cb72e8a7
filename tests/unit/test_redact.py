"""L11: secrets and full phone numbers are masked, and no other text is changed."""

import io
import json
import logging
import re
import string
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.whatsapp.phones import mask
from sweeper import events, logs, redact
from tests.support import log_schema

fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=200)

PHONES = [
    "081234567890",
    "+6281234567890",
    "6281234567890",
    "81234567890",
    "0812-3456-7890",
    "0812 3456 7890",
    "0812.3456.7890",
    "(0812) 3456 7890",
    "+62 812-3456-7890",
    "+62 (812) 3456 7890",
    "(+62) 812 3456 7890",
    "62 812 3456 7890",
    "812-3456-7890",
    "6208123456789",
    "62+6281234567890",
    "62 0812 3456 7890",
    "+62081234567890",
    "006281234567890",
    "\u202a+62\u00a0812\u20113456\u20117890\u202c",
    "+1 415 555 0100",
    "+1 (415) 555-0100",
    "+14155550100",
    "0014155550100",
    "+65 9123 4567",
    "%2B62%20812%203456%207890",
]

SAFE = [
    "cmh2k9x0p000008l4a1b2c3d4",
    "c08123456789012345678901a",
    "c628123456789aaaaaaaaaaaa",
    "3f081234-5678-4012-8123-081234567890",
    "08123456-7890-4123-8123-456789012345",
    "2026-01-31T12:00:00.123Z",
    "2026-08-12 10:11:12.345678+07:00",
    "2026-08-12T08:12:34.567890",
    "20260812T081234567",
    "1769860800812",
    "JST-081234-62",
    "Rp 1.850.000.000",
    "found 1000, enqueued 812, dead 0",
    "took 0.8123456789 s, 628.5 ms, 1.0812345678 s",
    "this host's clock is +25660800.0 s off the database's",
    "127.0.0.1:4010",
    "10.0.81.234:6432",
    "job.dead",
    "vm-10-0-81-234:62812",
    "6281****890",
    "postgresql+psycopg://sweeper:***@localhost:6543/postgres",
    "http://127.0.0.1:4010/metrics",
    "password authentication failed for user",
    '["c0", "c1"], 3 of 8000000',
]

WORDS = st.text("abdefghijklmnopqrstuvwxyzABCXYZ ,;=/'\"\n", max_size=12)  # no c: no cuids
GAPS = st.sampled_from(["", " ", "-", ".", " - ", "\u00a0", "\u2011", ") ", " ("])
NATIONAL = st.from_regex(r"8[1235789][0-9]{7,10}", fullmatch=True)
PREFIXES = st.sampled_from(["0", "62", "+62", "620", "+620", "62+62", "6262", "0062", "+62 (0)"])
ABROAD = st.sampled_from(["+1", "+44", "+65", "+86", "00971"])


@st.composite
def spelled_phone(draw: st.DrawFn) -> tuple[str, str]:
    """Draw the digits that must be masked, and a spelling of the whole number."""
    home = draw(st.booleans())
    digits = draw(NATIONAL) if home else draw(st.from_regex(r"[2-9][0-9]{8}", fullmatch=True))
    pieces, rest = [draw(PREFIXES if home else ABROAD)], digits
    while rest:
        length = draw(st.integers(1, 5))
        pieces += [rest[:length], draw(GAPS)]
        rest = rest[length:]
    return digits, "".join(pieces[:-1])


UNSPACED = NATIONAL.map(lambda digits: (digits, digits))
PHONE = spelled_phone() | UNSPACED
# The 7 makes them differ from the common text of every line.
SECRET = st.text(st.characters(codec="utf-8"), max_size=40).map("7{}secret".format)
TOKEN = st.text(string.ascii_letters + string.digits + "-_.~+/", max_size=40).map("7{}token".format)
ID = st.one_of(
    st.from_regex(r"c[0-9a-z]{24}", fullmatch=True),
    st.from_regex(r"c(08|628|8)[0-9]{8,12}[a-z]{1,9}", fullmatch=True).map(
        lambda start: start.ljust(25, "x")[:25]
    ),
    st.uuids().map(str),
    st.datetimes(datetime(2020, 1, 1), datetime(2039, 1, 1)).map(str),  # noqa: DTZ001 -- both forms
    st.datetimes(datetime(2020, 1, 1), datetime(2039, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
        datetime.isoformat
    ),
    st.integers(0, 79_999_999).map(str),
    st.binary(min_size=16, max_size=16).map(bytes.hex),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)


def digits_of(text: str) -> str:
    return re.sub(r"\D", "", text)


def without_backslashes(text: str) -> str:
    """Return *text* without backslashes, because each escape adds some."""
    return text.replace("\\", "")


def logged(form: str, text: str, secrets: Iterable[str] = ()) -> str:
    """Return the log output for *text* in our events and a library's, with and without errors."""
    stream = io.StringIO()
    logs.configure("debug", form, stream, secrets)
    events.DATABASE_LOST.log(error=text)
    structlog.get_logger("sweeper").info(text, deep=[{text: (text, {"error": Exception(text)})}])
    library = logging.getLogger("some.library")
    library.info("it said %s of %r", text, text)
    try:
        fail(text)
    except RuntimeError:
        library.exception("it failed")
    return stream.getvalue()


def fail(text: str) -> None:
    try:
        _ = dict[str, str]()[text]
    except KeyError as error:
        raise RuntimeError(text) from error


@pytest.mark.parametrize("phone", PHONES)
@pytest.mark.parametrize(
    "frame", ["{}", "to {}, now", "wa:{}", "WA{}", "{}.", "<{}>", "phone={}&x=1"]
)
def test_every_spelling_of_a_phone_is_masked(phone: str, frame: str) -> None:
    before, after = frame.split("{}")

    redacted = redact.text(frame.format(phone))

    assert redact.PHONE in redacted
    assert (True, True) == (redacted.startswith(before), redacted.endswith(after))
    assert len(digits_of(redacted)) <= len("62") + len(digits_of(frame))


@pytest.mark.parametrize("safe", SAFE)
def test_text_without_phones_or_secrets_is_unchanged(safe: str) -> None:
    assert (safe, f"<{safe}>") == (redact.text(safe), redact.text(f"<{safe}>"))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql://u:p@h/db", "postgresql://u:***@h/db"),
        ("at postgres://u:p@ss:/w@h:6543/db?x=1 now", "at postgres://u:***@h:6543/db?x=1 now"),
        ("https://user:pw@hooks.example/x", "https://user:***@hooks.example/x"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("authorization: Basic YTpi", "authorization: ***"),
        ("{'Authorization': 'raw token'}", "{'Authorization': '***'}"),
        ("(b'Authorization', b'raw token')", "(b'Authorization', b'***')"),
        ("sent Bearer abc, got 401", "sent Bearer ***, got 401"),
        ("host=h password=x dbname=d", "host=h password=*** dbname=d"),
        ("host=h password='x y' dbname=d", "host=h password=*** dbname=d"),
        ("/send?token=abc&target=x", "/send?token=***&target=x"),
        ('{"access_token": "a b", "x": 1}', '{"access_token": ***, "x": 1}'),
        ("api_key=x; Cookie: session=y", "api_key=***; Cookie: ***"),
        ("key eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYSJ9.c2ln ends", "key *** ends"),
    ],
)
def test_a_credential_is_recognized_by_its_form(text: str, redacted: str) -> None:
    assert redacted == redact.text(text)


def test_a_known_secret_is_masked_anywhere_in_a_text() -> None:
    redact.set_secrets(["s3cret-value"])

    assert "a***b, nothing else" == redact.text("as3cret-valueb, nothing else")


@pytest.mark.parametrize("spelling", ["p@ss w/rd", "p%40ss%20w%2Frd", "p%40ss w/rd"])
def test_the_password_of_a_known_url_is_masked_on_its_own_too(spelling: str) -> None:
    redact.set_secrets(["postgresql://u:p%40ss w/rd@h:6543/db"])

    assert "it was ***." == redact.text(f"it was {spelling}.")


def test_a_secret_shaped_like_an_id_is_masked_and_an_id_around_a_secret_is_not() -> None:
    redact.set_secrets(["c2k9x0p000008l4a1b2c3d4e5", "2c3d"])

    assert "***" == redact.text("c2k9x0p000008l4a1b2c3d4e5")
    assert "c2k9x0p000008l4a1b2c3d4e6" == redact.text("c2k9x0p000008l4a1b2c3d4e6")


def test_an_empty_or_tiny_secret_masks_nothing() -> None:
    redact.set_secrets(["", "a", "info"[:3]])

    assert "a banana, for your info" == redact.text("a banana, for your info")


def test_a_secret_that_is_no_longer_known_is_not_masked() -> None:
    redact.set_secrets(["s3cret-value"])
    redact.set_secrets([])

    assert "s3cret-value" == redact.text("s3cret-value")


def test_the_values_of_a_line_keep_their_types() -> None:
    line = {"key": "c0", "msg_id": 6281234567890, "share": 0.5, "clean": True, "reason": None}

    assert line == redact.line(None, "", dict(line))


def test_a_value_that_json_cannot_hold_becomes_text_and_is_masked() -> None:
    line = redact.line(
        None, "", {"at": datetime(2026, 1, 31, tzinfo=UTC), "who": {b"081234567890"}}
    )

    assert {"at": "2026-01-31 00:00:00+00:00", "who": ["b'[phone]'"]} == line


def test_a_value_with_a_secret_s_name_is_masked() -> None:
    line = redact.line(None, "", {"headers": {"X-Api-Key": "abc", "access_token": 1, "tokens": 2}})

    assert {"headers": {"X-Api-Key": "***", "access_token": "***", "tokens": 2}} == line


def test_a_phone_that_a_job_has_masked_is_unchanged() -> None:
    assert mask("081234567890") == redact.text(mask("081234567890"))


def test_masking_twice_gives_the_same_text_as_masking_once() -> None:
    text = "postgresql://u:p@h to 0812-3456-7890, token=abc, Bearer x"

    assert redact.text(text) == redact.text(redact.text(text))


@fuzzed
@given(PHONE, WORDS, WORDS, st.sampled_from(["json", "console"]))
def test_no_phone_reaches_the_log(
    phone: tuple[str, str], before: str, after: str, form: str
) -> None:
    digits, spelling = phone

    output = logged(form, f"{before}{spelling}{after}")

    assert digits not in digits_of(output)
    assert form == "console" or 4 == len(output.splitlines())


@fuzzed
@given(SECRET, WORDS, WORDS, st.sampled_from(["json", "console"]))
def test_no_known_secret_reaches_the_log(secret: str, before: str, after: str, form: str) -> None:
    """The secret is masked as it is, in a URL, in JSON and in a repr."""
    url = f"postgresql://u:{quote(secret, safe='')}@h/db"
    spellings = [secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret), url]

    output = logged(form, f" {before} ".join([*spellings, repr(spellings), after]), secrets=[url])

    assert [] == [
        one for one in spellings if without_backslashes(one) in without_backslashes(output)
    ]


@fuzzed
@given(
    TOKEN,
    st.sampled_from(
        [
            "Authorization: Bearer {}",
            "Authorization: {}",
            "bearer {} ",
            "https://u:{}@h/x",
            "postgres://u:{}@h/x y",
            "password={} ",
            "&token={}&",
            '{{"api_key": "{}"}}',
            "{{'access_token': '{}'}}",
        ]
    ),
    st.sampled_from(["json", "console"]),
)
def test_no_credential_reaches_the_log(token: str, frame: str, form: str) -> None:
    assert f"{token}" not in logged(form, "x " + frame.format(token))


@fuzzed
@given(st.lists(ID, min_size=1, max_size=5), WORDS)
def test_ids_times_and_counts_are_unchanged(ids: list[str], word: str) -> None:
    """They are unchanged both alone and inside a sentence."""
    sentence = f"{word.strip('=')}: {', '.join(ids)}"

    assert {"keys": ids, "error": sentence} == redact.line(
        None, "", {"keys": ids, "error": sentence}
    )


def test_masking_a_batch_of_ids_is_fast() -> None:
    """A line may hold five hundred ids; the limit is generous, for busy machines."""
    ids = [f"c{urlsafe_b64encode(bytes([n % 250] * 18)).decode().lower()}" for n in range(500)]
    began = datetime.now(UTC)

    redact.line(None, "", {"done": ids})

    assert (datetime.now(UTC) - began).total_seconds() < 0.1


def test_masking_a_long_text_takes_linear_time() -> None:
    """Otherwise one message from outside could keep the log busy for hours."""
    began = datetime.now(UTC)

    for flood in ("8 ", "0 ", "+1", "://", "://a:", "token=", "bearer ", "62", "a", "c0"):
        redact.text(flood * 20_000)

    assert (datetime.now(UTC) - began).total_seconds() < 20


def test_masked_lines_are_valid_by_the_schema() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream, ["started"])

    events.SERVICE_STOPPING.log(signal="SIGTERM 081234567890")
    logging.getLogger("x").warning("0812-3456-7890")

    lines = log_schema.lines(stream.getvalue())
    assert ["SIGTERM [phone]", "[phone]"] == [lines[0]["signal"], lines[1]["said"]]


def test_a_text_that_is_too_long_says_how_much_was_cut() -> None:
    """A text that was cut before is not cut again, so its count stays true."""
    cut = "x" * 500 + "... (4999500 characters cut)"

    assert "x" * 540 == redact.short("x" * 540)
    assert "x" * 500 + "... (41 characters cut)" == redact.short("x" * 541)
    assert cut == redact.short("x" * 5_000_000) == redact.short(cut) == redact.one_line(cut)
    assert cut == redact.shortened("x" * 5_000_000, 500)


def test_a_text_is_masked_before_it_is_cut() -> None:
    """L11: a number at the place of the cut is not left in half."""
    assert "+62" not in redact.short("x" * 495 + " +6281234567890 y" * 10)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://sari@db/jastip?sslmode=require&password=kelinci%20putih",
        "postgresql://sari:rahasia@db/jastip?sslpassword=kelinci+putih&sslmode=require",
    ],
)
def test_a_password_in_the_parameters_of_a_secret_url_is_masked(url: str) -> None:
    """L11: it may occur without the URL around it."""
    redact.set_secrets([url])

    assert "it was ***" == redact.text("it was kelinci putih")
