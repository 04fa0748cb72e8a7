"""The batch that a handler receives, and the decisions that it can make about its jobs."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, cast
from unittest.mock import Mock

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, Executable, Select, literal, select

from sweeper.batch import Batch, Decision
from sweeper.job import Answer, Job, JobType, Lane, Message, Outside, Payload, Priority, Section
from sweeper.ledger import Outcome
from sweeper.queue.dead_letters.dead_letter import of_job
from sweeper.queue.wire import MultiKeyMessage
from sweeper.retry import DeadReason

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class ParcelPayload(Payload):
    """A payload whose names have two words."""

    parcel_id: str
    is_urgent: bool = False


class HarbourSettings(Section):
    """A job file's own settings."""

    name: ClassVar[str] = "harbour"

    cranes: int = 2


def work(batch: Batch[ParcelPayload]) -> None:
    """Do nothing; the tests make the decisions."""


SHIP = JobType("SHIP", payload=ParcelPayload, key="parcel_id", handler=work)


def follow_ups(
    job: JobType[Any], rows: Select[Any], now: datetime
) -> tuple[Executable, Mapping[str, Any]]:
    """Return a statement and a value that show what they were made of."""
    return select(literal(job.name)).select_from(rows.subquery()), {"now": now}


def jobs(*keys: str) -> list[Job[ParcelPayload]]:
    """Return one job for each key; the message ids count from 1."""
    return [
        Job(
            message=Message("ships", msg_id, 1, NOW, "{}", NOW),
            type=SHIP,
            payload=ParcelPayload(parcel_id=key),
            body={},
            retry_count=0,
            max_retries=3,
            sweep_id=None,
        )
        for msg_id, key in enumerate(keys, 1)
    ]


def make_batch(*keys: str) -> Batch[ParcelPayload]:
    tx = Mock(spec=Connection)
    return Batch(
        tx,
        NOW,
        NOW,
        jobs(*keys),
        {HarbourSettings: HarbourSettings(cranes=4)},
        follow_ups,
    )


def decisions(batch: Batch[ParcelPayload]) -> list[tuple[Outcome, str | None]]:
    return [(one.outcome, one.reason) for one in map(batch.decision, batch.jobs)]


def test_a_job_without_a_decision_is_done() -> None:
    assert [(Outcome.DONE, None)] == decisions(make_batch("a"))


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"a": True}, (Outcome.DONE, None)),
        ({"a": False}, (Outcome.POSTPONED, "row locked")),
        ({}, (Outcome.SKIPPED, "not due")),
        ({"b": True}, (Outcome.SKIPPED, "not due")),
    ],
    ids=["claimed", "locked", "no row", "only another row"],
)
def test_a_job_is_decided_by_whether_its_row_was_claimed(
    claims: dict[str, bool], expected: tuple[Outcome, str | None]
) -> None:
    """L3: an order that was paid or deleted in the meantime is skipped, its message completed."""
    batch = make_batch("a")

    batch.claimed(claims)

    assert [expected] == decisions(batch)


def test_only_the_first_of_several_messages_for_one_row_is_done() -> None:
    """L1: a message delivered twice has its effect only once."""
    batch = make_batch("a", "b", "a", "a")

    batch.claimed({"a": True, "b": True})

    again = (Outcome.SKIPPED, "duplicate")
    assert [(Outcome.DONE, None), (Outcome.DONE, None), again, again] == decisions(batch)


def test_all_messages_for_a_locked_row_are_postponed() -> None:
    batch = make_batch("a", "a")

    batch.claimed({"a": False})

    assert [(Outcome.POSTPONED, "row locked")] * 2 == decisions(batch)


def test_each_job_of_a_batch_is_decided_by_its_own_row() -> None:
    batch = make_batch("paid", "free", "locked")

    batch.claimed({"free": True, "locked": False})

    expected = [Outcome.SKIPPED, Outcome.DONE, Outcome.POSTPONED]
    assert expected == [outcome for outcome, _ in decisions(batch)]


@pytest.mark.parametrize(
    ("decide", "expected"),
    [
        (Batch.skip, Outcome.SKIPPED),
        (Batch.postpone, Outcome.POSTPONED),
        (Batch.reject, Outcome.DEAD),
    ],
)
def test_a_decision_applies_to_one_job_and_has_a_reason(decide: Any, expected: Outcome) -> None:
    batch = make_batch("a", "b")

    decide(batch, batch.jobs[1], "because")

    assert [(Outcome.DONE, None), (expected, "because")] == decisions(batch)


def test_the_last_decision_on_a_job_replaces_earlier_ones() -> None:
    batch = make_batch("a")

    batch.skip(batch.jobs[0], "first")
    batch.reject(batch.jobs[0], "then")

    assert Decision(Outcome.DEAD, "then", death=DeadReason.REJECTED) == batch.decision(
        batch.jobs[0]
    )


def test_the_keys_of_a_batch_are_distinct_and_in_order() -> None:
    assert ["b", "a", "c"] == make_batch("b", "a", "b", "c", "a").keys


def test_follow_up_jobs_are_enqueued_behind_what_the_handler_waits_for() -> None:
    batch = make_batch("a")
    rows = select(literal(1))

    batch.run(select(literal(2)))
    batch.enqueue(SHIP, rows, {"a": 3})

    expected = [select(literal(2)), follow_ups(SHIP, rows, NOW)[0]]
    assert list(map(str, expected)) == [str(one.statement) for one in batch.later]
    assert [{}, {"a": 3, "now": NOW}] == [one.values for one in batch.later]
    assert not cast("Mock", batch.tx).execute.called


def test_a_handler_can_read_its_own_settings() -> None:
    assert 4 == make_batch("a").settings(HarbourSettings).cranes


@pytest.mark.parametrize(
    ("handler", "lane"),
    [
        (work, Lane.DATABASE),
        (
            Outside(prepare=lambda _batch: {}, call=print, record=lambda _batch, _answers: None),
            Lane.OUTBOUND,
        ),
    ],
    ids=["a function", "outside"],
)
def test_the_lane_follows_from_the_kind_of_handler(handler: Any, lane: Lane) -> None:
    assert lane == JobType("SHIP", payload=ParcelPayload, key="parcel_id", handler=handler).lane


@pytest.mark.parametrize(
    ("attribute", "name"),
    [("parcel_id", "parcelId"), ("is_urgent", "isUrgent"), ("no_field", "noField")],
)
def test_names_are_in_camel_case_on_the_wire(attribute: str, name: str) -> None:
    assert name == SHIP.wire(attribute)


def test_a_job_type_has_normal_priority_by_default() -> None:
    assert (Priority.NORMAL, None, None) == (SHIP.priority, SHIP.max_retries, SHIP.many)


def test_a_payload_accepts_camel_case_and_ignores_unknown_keys() -> None:
    actual = ParcelPayload.model_validate({"parcelId": "p1", "isUrgent": True, "colour": "red"})

    assert ParcelPayload(parcel_id="p1", is_urgent=True) == actual


def test_a_payload_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ParcelPayload(parcel_id="p1").parcel_id = "p2"  # type: ignore[misc]


def test_a_settings_section_refuses_unknown_keys() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        HarbourSettings.model_validate({"cranes": 1, "ships": 2})


@pytest.mark.parametrize(("retry_count", "attempt"), [(0, 1), (3, 4)])
def test_attempts_are_counted_from_one(retry_count: int, attempt: int) -> None:
    (first,) = jobs("a")
    counted = Job(first.message, SHIP, first.payload, {}, retry_count, 3, None)

    assert attempt == counted.attempt


@pytest.mark.parametrize(("read_ct", "crashes"), [(1, 0), (2, 1), (6, 5)])
def test_every_earlier_read_of_a_message_counts_as_a_crash(read_ct: int, crashes: int) -> None:
    """L5: a decision ends a message or replaces it, so one that is read again had no decision."""
    assert crashes == Message("ships", 1, read_ct, NOW, None, NOW).crashes


def test_no_text_of_a_message_is_in_a_repr() -> None:
    """L11: an error's text may quote a repr, and a message may name people and what they read."""
    message = Message("ships", 1, 1, NOW, '{"name": "Siti"}', NOW)
    named = {"name": "Siti"}
    job = Job(message, SHIP, ParcelPayload(parcel_id="Siti"), named, 0, 3, None)
    batch = Batch(Mock(Connection), NOW, NOW, [job], {}, Mock())
    letter = of_job(job, DeadReason.EXHAUSTED, "lost", NOW)
    several = MultiKeyMessage(message, SHIP, (named,))
    told = [message, job, batch, replace(letter, key=None), Answer(named, named), several]

    assert [] == [each for each in told if "Siti" in repr(each)]
