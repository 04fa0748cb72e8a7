"""An outage of the database is logged once when it begins, and once when it ends."""

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from structlog.testing import capture_logs

from sweeper import events
from sweeper.service.outage import Outage


def test_an_outage_is_one_event_however_many_threads_meet_it() -> None:
    outage, lost = Outage(), PoolTimeoutError()

    with capture_logs() as lines:
        for _ in range(3):
            outage.tell(lost, events.WATCH_FAILED)
        for _ in range(2):
            outage.end()
        outage.tell(lost, events.WATCH_FAILED)

    assert ["database.lost", "database.recovered", "database.lost"] == [
        line["event"] for line in lines
    ]


def test_another_error_is_told_as_what_it_was() -> None:
    outage = Outage()

    with capture_logs() as lines:
        outage.tell(LookupError("no such thing"), events.WATCH_FAILED)
        outage.end()

    assert [("watch.failed", "LookupError: no such thing")] == [
        (line["event"], line["error"]) for line in lines
    ]
