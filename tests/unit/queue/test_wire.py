"""The wire format of a job: parsed tolerantly, encoded strictly (DOMAIN 5)."""

import json
import re
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sweeper import catalog
from sweeper.job import Job, Message
from sweeper.queue.wire import (
    MalformedMessage,
    MultiKeyMessage,
    encode,
    parse,
    retry_body,
)
from sweeper.retry import DeadReason

TYPES = catalog.load("jobs").jobs
SENT_AT = datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=UTC)
CREATED_AT = "2026-01-31T11:58:00.456Z"
MESSAGE = Message("jastipin_jobs", 7, 1, SENT_AT, None, SENT_AT)

UNUSUAL_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**400,
    "",
    "text",
    "{",
    "\u00e9\U0001f6cd",
    [],
    [[]],
    [None],
    {},
    {"orderId": {}},
]

NO_ORDER: list[Any] = [
    ...,
    None,
    7,
    "c1",
    ["c1"],
    {},
    {"orderId": None},
    {"orderId": ""},
    {"orderId": 7},
    {"orderId": ["c1"]},
    {"orderid": "c1"},
    {"orderIds": "c1"},
    {"orderIds": [""]},
    {"orderIds": [["c1"]]},
]

REFUSED_PAYLOADS: dict[str, list[Any]] = {
    "ORDER_EXPIRE_DP": NO_ORDER,
    "ORDER_AUTO_REFUND": NO_ORDER,
    "STOCK_RELEASE": [
        {},
        {"orderId": ""},
        {"orderId": "c1", "shouldRefund": "yes"},
        {"productId": "p1"},
        {"quantity": 1},
        {"productId": "", "quantity": 1},
        {"productId": "p1", "quantity": 0},
        {"productId": "p1", "quantity": -1},
        {"productId": "p1", "quantity": 1.5},
        {"productId": "p1", "quantity": True},
        {"productId": "p1", "quantity": "some"},
        {"productId": "p1", "quantity": 2**31},
    ],
    "NOTIFICATION_SEND_WHATSAPP": [
        {},
        {"messageId": ""},
        {"messageId": 7},
        {"message": "Halo"},
        {"recipientPhone": "081234567890"},
        {"recipientPhone": "081234567890", "message": ""},
        {"recipientPhone": 6281234567890, "message": "Halo"},
        {"recipientPhone": "081234567890", "message": "Halo", "metadata": []},
    ],
}


def platform_body(**changes: Any) -> dict[str, Any]:
    """Return a body as the platform writes it; an ellipsis leaves a key out."""
    body = {
        "type": "ORDER_EXPIRE_DP",
        "payload": {"orderId": "c1"},
        "retryCount": 0,
        "maxRetries": 3,
        "createdAt": CREATED_AT,
    }
    return {name: value for name, value in (body | changes).items() if value is not ...}


def read_raw(raw: str | None) -> Job[Any] | MultiKeyMessage | MalformedMessage:
    return parse(replace(MESSAGE, raw=raw), TYPES, max_retries=3)


def read(body: object) -> Job[Any] | MultiKeyMessage | MalformedMessage:
    return read_raw(json.dumps(body))


def job(body: object) -> Job[Any]:
    found = read(body)
    assert isinstance(found, Job)
    return found


def multi_key(body: object) -> MultiKeyMessage:
    found = read(body)
    assert isinstance(found, MultiKeyMessage)
    return found


def refused(raw: str | None) -> MalformedMessage:
    found = read_raw(raw)
    assert isinstance(found, MalformedMessage)
    return found


# Parsing.


def test_the_platforms_own_body_is_parsed() -> None:
    found = job(platform_body(retryCount=1, maxRetries=5, lastError="boom"))

    expected = ("ORDER_EXPIRE_DP", "c1", 1, 5, 2)
    assert expected == (
        found.type.name,
        found.key,
        found.retry_count,
        found.max_retries,
        found.attempt,
    )


@pytest.mark.parametrize(
    ("kind", "payload", "key"),
    [
        ("ORDER_EXPIRE_DP", {"orderId": "c1"}, "c1"),
        ("ORDER_EXPIRE_DP", {"orderIds": ["c1"]}, "c1"),
        ("ORDER_AUTO_REFUND", {"orderId": "c1"}, "c1"),
        ("ORDER_AUTO_REFUND", {"orderIds": ["c1"]}, "c1"),
        ("STOCK_RELEASE", {"orderId": "c1"}, "c1"),
        ("STOCK_RELEASE", {"orderId": "c1", "shouldRefund": True}, "c1"),
        ("STOCK_RELEASE", {"orderId": "c1", "shouldRefund": False}, "c1"),
        ("STOCK_RELEASE", {"orderId": "c1", "shouldRefund": None}, "c1"),
        ("STOCK_RELEASE", {"productId": "p1", "quantity": 2}, "p1"),
        ("NOTIFICATION_SEND_WHATSAPP", {"messageId": "n1"}, "n1"),
        (
            "NOTIFICATION_SEND_WHATSAPP",
            {"recipientPhone": "081234567890", "message": "Halo"},
            "6281****890",
        ),
        (
            "NOTIFICATION_SEND_WHATSAPP",
            {
                "recipientPhone": "081234567890",
                "message": "Halo",
                "metadata": {"orderId": "c1", "eventType": "ORDER_CANCELLED"},
            },
            "c1",
        ),
    ],
)
def test_every_form_of_a_payload_is_accepted(kind: str, payload: object, key: str) -> None:
    assert key == job(platform_body(type=kind, payload=payload)).key


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(platform_body()),
        platform_body(payload=json.dumps({"orderId": "c1"})),
        json.dumps(platform_body(payload=json.dumps({"orderId": "c1"}))),
        platform_body(payload=json.dumps({"orderIds": ["c1"]})),
    ],
    ids=["body", "payload", "both", "several keys"],
)
def test_a_string_that_contains_json_is_decoded(body: object) -> None:
    assert "c1" == job(body).key


def test_a_string_that_contains_json_is_decoded_only_once() -> None:
    assert DeadReason.INVALID == refused(json.dumps(json.dumps(json.dumps(platform_body())))).reason


def test_a_decoded_body_is_sent_on_as_an_object() -> None:
    found = job(json.dumps(platform_body(payload=json.dumps({"orderId": "c1"}))))

    assert platform_body() == dict(found.body)


def test_unknown_keys_are_ignored_and_kept_in_the_body() -> None:
    body = platform_body(payload={"orderId": "c1", "why": "late"}, traceId="t1")

    assert body == dict(job(body).body)


@pytest.mark.parametrize(
    ("sent", "parsed"),
    [
        (..., 0),
        (0, 0),
        (2, 2),
        ("2", 2),
        ("02", 2),
        (None, 0),
        (True, 0),
        (-1, 0),
        (1.5, 0),
        ("", 0),
        ("two", 0),
        ("-1", 0),
        ("1.5", 0),
        ("\u00b2", 0),
        ([1], 0),
        ({}, 0),
        ("9" * 5000, 0),
        (2**31 - 1, 0),
        (2**31, 0),
        (10**400, 0),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_the_retry_count_is_a_number_or_digits_and_otherwise_zero(
    sent: object, parsed: int
) -> None:
    """A count whose next execution does not fit an INT column could not be stored."""
    assert parsed == job(platform_body(retryCount=sent)).retry_count


@pytest.mark.parametrize(
    ("sent", "parsed"),
    [(0, 0), (5, 5), ("5", 5), (..., 3), (None, 3), (True, 3), (-1, 3), ("many", 3), (2.5, 3)],
)
def test_a_message_s_own_retry_limit_wins_where_it_is_a_number(sent: object, parsed: int) -> None:
    assert parsed == job(platform_body(maxRetries=sent)).max_retries


def test_a_message_without_a_retry_limit_has_the_limit_of_its_type() -> None:
    body = platform_body(type="STOCK_RELEASE", maxRetries=...)

    assert 2 == job(body).max_retries


@pytest.mark.parametrize(("sent", "parsed"), [("s1", "s1"), (..., None), (7, None), ({}, None)])
def test_the_sweep_id_is_read_where_it_is_text(sent: object, parsed: str | None) -> None:
    assert parsed == job(platform_body(sweepId=sent)).sweep_id


# Messages for several orders.


def test_a_message_for_several_orders_is_split_into_one_body_each() -> None:
    found = multi_key(
        platform_body(payload={"orderIds": ["c1", "c2"], "why": "late"}, retryCount="1")
    )

    expected = tuple(
        platform_body(payload={"orderId": order_id, "why": "late"}, retryCount=1)
        for order_id in ("c1", "c2")
    )
    assert expected == tuple(found.bodies)


def test_an_order_named_twice_gets_one_body() -> None:
    found = multi_key(platform_body(payload={"orderIds": ["c1", "c2", "c1"]}))

    assert ["c1", "c2"] == [body["payload"]["orderId"] for body in found.bodies]


def test_a_list_that_repeats_one_order_is_one_job() -> None:
    assert "c1" == job(platform_body(payload={"orderIds": ["c1", "c1"]})).key


def test_an_order_id_beside_a_list_of_ids_is_added_to_them() -> None:
    found = multi_key(platform_body(payload={"orderId": "c0", "orderIds": ["c1"]}))

    assert ["c0", "c1"] == [body["payload"]["orderId"] for body in found.bodies]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"orderIds": ["c"] * 10_001}, "it lists 10,001 keys, and at most 10,000 may be"),
        (
            {"orderIds": [f"c{n}" for n in range(10_000)], "why": "x" * 2_000},
            "and at most 16,777,216 may be",
        ),
    ],
    ids=["keys", "bytes"],
)
def test_a_message_that_is_too_much_to_split_is_invalid(payload: Any, reason: str) -> None:
    """L5: it cannot exhaust the memory, and its dead letter says why."""
    found = refused(json.dumps(platform_body(payload=payload)))

    assert "invalid" == found.reason
    assert reason in found.error


def test_the_largest_message_that_is_split_needs_little_memory() -> None:
    """The bodies are made one after another, not all at once."""
    ids = [f"c{n}" for n in range(10_000)]
    raw = json.dumps(platform_body(payload={"orderIds": ids, "why": "x" * 1_400}))
    tracemalloc.start()

    found = read_raw(raw)
    assert isinstance(found, MultiKeyMessage)
    count = sum(1 for _ in found.bodies)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 10_000 == count
    assert peak < 4_000_000


def test_each_body_of_a_split_message_parses_as_a_job() -> None:
    found = multi_key(platform_body(payload={"orderIds": ["c1", "c2"]}))

    assert ["c1", "c2"] == [job(body).key for body in found.bodies]


def test_a_message_for_no_orders_has_no_bodies() -> None:
    """It asks for nothing, which is no fault."""
    assert not multi_key(platform_body(payload={"orderIds": []})).bodies


def test_an_order_id_beside_an_empty_list_is_one_job() -> None:
    assert "c1" == job(platform_body(payload={"orderId": "c1", "orderIds": []})).key


@pytest.mark.parametrize("wrong", ["", 7, None, ["c1"]])
def test_a_wrong_id_among_several_is_refused_alone(wrong: object) -> None:
    """L5: the orders beside it have their own messages, which are not charged for it."""
    found = multi_key(platform_body(payload={"orderIds": ["c1", wrong, "c2"]}))

    first, refused_body, last = found.bodies
    assert ["c1", "c2"] == [job(body).key for body in (first, last)]
    assert DeadReason.INVALID == refused(json.dumps(refused_body)).reason


# Malformed messages, which are dead-lettered at once.


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (None, "the body is missing, not an object"),
        ("null", "the body is missing, not an object"),
        ("1", "the body is a number, not an object"),
        ("1.5", "the body is a number, not an object"),
        ("true", "the body is a boolean, not an object"),
        ("[]", "the body is a list, not an object"),
        ('"text"', "the body is a string, not an object"),
        ('""', "the body is a string, not an object"),
        ('"[1]"', "the body is a list, not an object"),
        ("{}", "the type is missing, not a name"),
        ('{"type": null}', "the type is missing, not a name"),
        ('{"type": 7}', "the type is a number, not a name"),
        ('{"type": {}}', "the type is an object, not a name"),
        ('{"type": ["ORDER_EXPIRE_DP"]}', "the type is a list, not a name"),
    ],
)
def test_a_body_that_is_not_an_object_with_a_type_is_invalid(raw: str | None, error: str) -> None:
    found = refused(raw)

    assert (DeadReason.INVALID, error) == (found.reason, found.error)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        pytest.param(kind, payload, id=f"{kind} {payload}")
        for kind, payloads in REFUSED_PAYLOADS.items()
        for payload in payloads
    ],
)
def test_a_payload_that_its_job_type_refuses_is_invalid(kind: str, payload: object) -> None:
    found = refused(json.dumps(platform_body(type=kind, payload=payload)))

    assert DeadReason.INVALID == found.reason


@pytest.mark.parametrize("kind", ["", "ORDER_LOST", "order_expire_dp", " ORDER_EXPIRE_DP"])
def test_a_type_that_no_job_file_exports_is_unknown(kind: str) -> None:
    found = refused(json.dumps(platform_body(type=kind)))

    expected = (DeadReason.UNKNOWN_TYPE, f"there is no job type {kind!r}")
    assert expected == (found.reason, found.error)


@pytest.mark.parametrize(
    "number", ["1e400", "-1e400", "NaN", "Infinity", "9" * 5000], ids=lambda n: str(n)[:9]
)
def test_a_number_that_cannot_be_encoded_again_is_invalid(number: str) -> None:
    raw = f'{{"type": "ORDER_EXPIRE_DP", "payload": {{"orderId": "c1", "n": {number}}}}}'

    assert DeadReason.INVALID == refused(raw).reason


@pytest.mark.parametrize("number", ["1e400", "9" * 5000], ids=["1e400", "digits"])
def test_a_number_in_a_json_string_that_cannot_be_encoded_again_is_invalid(number: str) -> None:
    raw = f'{{"type": "ORDER_EXPIRE_DP", "payload": {{"orderId": "c1", "n": {number}}}}}'

    assert DeadReason.INVALID == refused(json.dumps(raw)).reason


@pytest.mark.parametrize("once_more", [False, True], ids=["plain", "in a string"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_that_is_too_deep_is_invalid(
    opening: str, closing: str, *, once_more: bool
) -> None:
    deep = opening * 100_000 + "1" + closing * 100_000
    raw = f'{{"type": "ORDER_EXPIRE_DP", "payload": {{"orderId": "c1", "deep": {deep}}}}}'

    assert DeadReason.INVALID == refused(json.dumps(raw) if once_more else raw).reason


@pytest.mark.parametrize("character", ["\0", chr(0xD800), chr(0xDFFF)], ids=["NUL", "high", "low"])
@pytest.mark.parametrize("place", ["orderId", "why"])
@pytest.mark.parametrize("whole", [True, False], ids=["body", "payload"])
def test_a_character_that_postgres_cannot_store_is_invalid(
    character: str, place: str, *, whole: bool
) -> None:
    """It can only occur in a string that contains JSON, which the database does not check."""
    payload = {"orderId": "c1"} | {place: f"c{character}1"}
    body = platform_body(payload=payload if whole else json.dumps(payload))

    found = refused(json.dumps(json.dumps(body) if whole else body))

    assert DeadReason.INVALID == found.reason


def test_an_escaped_backslash_before_u0000_is_ordinary_text() -> None:
    order_id = r"c\u0000"

    assert order_id == job(json.dumps(platform_body(payload={"orderId": order_id}))).key


def test_an_error_does_not_repeat_the_refused_values() -> None:
    """L11: the payload may contain a phone number."""
    payload = {"recipientPhone": 6281234567890, "message": ["Halo Sari"], "metadata": "Sari"}

    error = refused(
        json.dumps(platform_body(type="NOTIFICATION_SEND_WHATSAPP", payload=payload))
    ).error

    assert not re.search(r"\d{5}|Sari", error)
    assert error.startswith("recipientPhone: ")


def test_all_faults_of_a_payload_are_reported_on_one_line() -> None:
    payload = {"recipientPhone": 7, "message": 7}

    error = refused(
        json.dumps(platform_body(type="NOTIFICATION_SEND_WHATSAPP", payload=payload))
    ).error

    assert ["recipientPhone", "message"] == re.findall(r"(\w+): ", error)
    assert "\n" not in error


@pytest.mark.parametrize("value", UNUSUAL_VALUES, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(
    "shape",
    [
        lambda value: value,
        lambda value: platform_body(type=value),
        lambda value: platform_body(payload=value),
        lambda value: platform_body(payload={"orderId": value}),
        lambda value: platform_body(payload={"orderIds": value}),
        lambda value: platform_body(payload={"orderIds": [value, "c1"]}),
        lambda value: platform_body(retryCount=value, maxRetries=value),
        lambda value: platform_body(createdAt=value, lastError=value, sweepId=value),
        lambda value: platform_body(
            type="STOCK_RELEASE", payload={"productId": "p", "quantity": value}
        ),
        lambda value: platform_body(
            type="NOTIFICATION_SEND_WHATSAPP", payload={"messageId": "n", "metadata": value}
        ),
    ],
    ids=["body", "type", "payload", "id", "ids", "one of ids", "counts", "rest", "stock", "notice"],
)
def test_any_value_anywhere_gives_a_result_that_can_be_encoded(shape: Any, value: object) -> None:
    match read(shape(value)):
        case Job() as found:
            bodies: tuple[Any, ...] = (
                found.body,
                retry_body(found, "boom"),
            )
        case MultiKeyMessage() as several:
            bodies = tuple(several.bodies)
        case MalformedMessage(error=error):
            bodies = (error,)

    for body in bodies:
        assert isinstance(body, str) or {"type", "payload"} <= set(body)
        assert json.dumps(body, ensure_ascii=False).encode()


# Encoding, in a form that the platform's own worker can read.


def test_a_new_body_has_the_platforms_five_keys() -> None:
    body = encode(TYPES["ORDER_EXPIRE_DP"], {"orderId": "c1"}, created_at=CREATED_AT, max_retries=3)

    assert platform_body() == body


def test_a_new_body_has_the_limit_of_its_type() -> None:
    body = encode(TYPES["STOCK_RELEASE"], {"orderId": "c1"}, created_at=CREATED_AT, max_retries=3)

    assert 2 == body["maxRetries"]


def test_an_encoded_body_can_be_parsed_again() -> None:
    body = encode(
        TYPES["ORDER_AUTO_REFUND"], {"orderId": "c1"}, created_at=CREATED_AT, max_retries=9
    )

    found = job(body)

    assert ("ORDER_AUTO_REFUND", "c1", 0, 9) == (
        found.type.name,
        found.key,
        found.retry_count,
        found.max_retries,
    )


def test_a_retried_body_has_a_higher_count_and_the_last_error() -> None:
    found = job(platform_body(retryCount=1, sweepId="s1"))

    expected = platform_body(retryCount=2, sweepId="s1", lastError="RuntimeError: boom")
    assert expected == retry_body(found, "RuntimeError: boom")


def test_the_time_of_creation_is_kept_over_every_retry() -> None:
    body = platform_body()
    for _ in range(3):
        body = retry_body(job(body), "boom")

    assert (CREATED_AT, 3) == (body["createdAt"], body["retryCount"])


@pytest.mark.parametrize("sent", [..., None, 7, {}], ids=["missing", "null", "number", "object"])
def test_a_body_without_a_time_of_creation_gets_the_time_it_was_enqueued(sent: object) -> None:
    """The time is ISO 8601 with milliseconds and Z, which the platform's worker can read."""
    body = retry_body(job(platform_body(createdAt=sent)), "boom")

    assert "2026-01-31T12:00:00.123Z" == body["createdAt"]


def test_counts_of_a_wrong_type_are_encoded_as_numbers() -> None:
    body = retry_body(job(platform_body(retryCount="1", maxRetries="many")), "boom")

    assert (2, 3) == (body["retryCount"], body["maxRetries"])


@pytest.mark.parametrize(
    ("retries", "default", "kept"),
    [
        (10**8, 3, 100),
        (101, 3, 100),
        ("99999999", 3, 100),
        (100, 3, 100),
        (7, 3, 7),
        (500, 200, 200),
    ],
)
def test_a_message_is_retried_a_bounded_number_of_times(
    retries: object, default: int, kept: int
) -> None:
    """L5: no sender decides that a job lives for ever; a larger setting is the operator's."""
    body = {"type": "ORDER_EXPIRE_DP", "payload": {"orderId": "c"}, "maxRetries": retries}

    job = parse(replace(MESSAGE, raw=json.dumps(body)), TYPES, default)

    assert isinstance(job, Job)
    assert (job.max_retries, job.body["maxRetries"]) == (kept, kept)


def test_a_creation_time_of_many_characters_is_not_kept() -> None:
    """It would be stored with every notice."""
    body = {"type": "ORDER_EXPIRE_DP", "payload": {"orderId": "c"}, "createdAt": "9" * 201}

    job = parse(replace(MESSAGE, raw=json.dumps(body)), TYPES, 3)

    assert isinstance(job, Job)
    assert job.body["createdAt"] == "2026-01-31T12:00:00.123Z"
