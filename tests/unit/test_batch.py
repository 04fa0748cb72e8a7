"""What a handler meets: a batch of jobs, and the verdicts that it may give."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, Select, select

from sweeper.batch import Batch, Decision
from sweeper.job import Job, JobType, Lane, Message, Outside, Payload, Priority, Section
from sweeper.ledger import Outcome
from sweeper.retry import DeadReason

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Parcel(Payload):
    """A payload whose names have two words."""

    parcel_id: str
    is_urgent: bool = False


class Harbour(Section):
    """A job file's own settings."""

    name: ClassVar[str] = "harbour"

    cranes: int = 2


def work(batch: Batch[Parcel]) -> None:
    """Do nothing; the tests give the verdicts."""


SHIP = JobType("SHIP", payload=Parcel, key="parcel_id", handler=work)


@dataclass(slots=True)
class Sent:
    """Remembers what was enqueued."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def __call__(self, tx: Connection, job: JobType[Any], rows: Select[Any], now: datetime) -> int:
        """Say that five were sent."""
        self.calls.append((tx, job, rows, now))
        return 5


def jobs(*keys: str) -> list[Job[Parcel]]:
    """Return one job a key; the message ids count from 1."""
    return [
        Job(
            message=Message("ships", msg_id, 1, NOW, "{}", NOW),
            type=SHIP,
            payload=Parcel(parcel_id=key),
            body={},
            retry_count=0,
            max_retries=3,
            sweep_id=None,
        )
        for msg_id, key in enumerate(keys, 1)
    ]


def batch(*keys: str, send: Sent | None = None) -> Batch[Parcel]:
    tx = Mock(spec=Connection)
    return Batch(tx, NOW, NOW, jobs(*keys), {Harbour: Harbour(cranes=4)}, send or Sent())


def verdicts(judged: Batch[Parcel]) -> list[tuple[Outcome, str | None]]:
    return [(one.outcome, one.reason) for one in map(judged.decision, judged.jobs)]


def test_what_the_handler_does_not_name_is_done() -> None:
    assert [(Outcome.DONE, None)] == verdicts(batch("a"))


@pytest.mark.parametrize(
    ("claims", "fate"),
    [
        ({"a": True}, (Outcome.DONE, None)),
        ({"a": False}, (Outcome.POSTPONED, "row locked")),
        ({}, (Outcome.SKIPPED, "not due")),
        ({"b": True}, (Outcome.SKIPPED, "not due")),
    ],
    ids=["ours", "held by somebody else", "nobody's", "only another's"],
)
def test_a_job_is_judged_by_what_became_of_its_row(
    claims: dict[str, bool], fate: tuple[Outcome, str | None]
) -> None:
    """L3: an order paid or deleted meanwhile is left alone, its message is finished."""
    judged = batch("a")

    judged.claimed(claims)

    assert [fate] == verdicts(judged)


def test_of_several_messages_for_one_row_the_first_did_it() -> None:
    """L1: a message delivered twice has its effect once."""
    judged = batch("a", "b", "a", "a")

    judged.claimed({"a": True, "b": True})

    again = (Outcome.SKIPPED, "duplicate")
    assert [(Outcome.DONE, None), (Outcome.DONE, None), again, again] == verdicts(judged)


def test_of_several_messages_for_a_locked_row_all_wait() -> None:
    judged = batch("a", "a")

    judged.claimed({"a": False})

    assert [(Outcome.POSTPONED, "row locked")] * 2 == verdicts(judged)


def test_each_job_of_a_batch_is_judged_by_its_own_row() -> None:
    judged = batch("paid", "free", "locked")

    judged.claimed({"free": True, "locked": False})

    expected = [Outcome.SKIPPED, Outcome.DONE, Outcome.POSTPONED]
    assert expected == [fate for fate, _ in verdicts(judged)]


@pytest.mark.parametrize(
    ("say", "fate"),
    [
        (Batch.skip, Outcome.SKIPPED),
        (Batch.postpone, Outcome.POSTPONED),
        (Batch.reject, Outcome.DEAD),
    ],
)
def test_a_verdict_names_one_job_and_its_reason(say: Any, fate: Outcome) -> None:
    judged = batch("a", "b")

    say(judged, judged.jobs[1], "because")

    assert [(Outcome.DONE, None), (fate, "because")] == verdicts(judged)


def test_the_last_verdict_on_a_job_holds() -> None:
    judged = batch("a")

    judged.skip(judged.jobs[0], "first")
    judged.reject(judged.jobs[0], "then")

    assert Decision(Outcome.DEAD, "then", death=DeadReason.REJECTED) == judged.decision(
        judged.jobs[0]
    )


def test_the_keys_of_a_batch_are_each_there_once_in_order() -> None:
    assert ["b", "a", "c"] == batch("b", "a", "b", "c", "a").keys


def test_follow_ups_ride_in_the_batchs_own_transaction() -> None:
    sent = Sent()
    sending = batch("a", send=sent)
    rows = select(1)

    assert 5 == sending.enqueue(SHIP, rows)
    assert [(sending.tx, SHIP, rows, NOW)] == sent.calls


def test_a_handler_reads_its_own_settings() -> None:
    assert 4 == batch("a").settings(Harbour).cranes


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
    assert lane == JobType("SHIP", payload=Parcel, key="parcel_id", handler=handler).lane


@pytest.mark.parametrize(
    ("attribute", "name"),
    [("parcel_id", "parcelId"), ("is_urgent", "isUrgent"), ("no_field", "noField")],
)
def test_on_the_wire_names_are_in_camel_case(attribute: str, name: str) -> None:
    assert name == SHIP.wire(attribute)


def test_a_job_type_is_of_normal_priority_unless_it_says_otherwise() -> None:
    assert (Priority.NORMAL, None, None) == (SHIP.priority, SHIP.max_retries, SHIP.many)


def test_a_payload_reads_camel_case_and_ignores_foreign_keys() -> None:
    actual = Parcel.model_validate({"parcelId": "p1", "isUrgent": True, "colour": "red"})

    assert Parcel(parcel_id="p1", is_urgent=True) == actual


def test_a_payload_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Parcel(parcel_id="p1").parcel_id = "p2"  # type: ignore[misc]


def test_a_section_refuses_keys_that_it_does_not_have() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Harbour.model_validate({"cranes": 1, "ships": 2})


@pytest.mark.parametrize(("retry_count", "attempt"), [(0, 1), (3, 4)])
def test_executions_count_from_one(retry_count: int, attempt: int) -> None:
    (first,) = jobs("a")
    counted = Job(first.message, SHIP, first.payload, {}, retry_count, 3, None)

    assert attempt == counted.attempt


@pytest.mark.parametrize(("read_ct", "crashes"), [(1, 0), (2, 1), (6, 5)])
def test_every_read_before_this_one_was_a_crash(read_ct: int, crashes: int) -> None:
    """L5: a verdict makes a new message, so an old one that is read again had none."""
    assert crashes == Message("ships", 1, read_ct, NOW, None, NOW).crashes
