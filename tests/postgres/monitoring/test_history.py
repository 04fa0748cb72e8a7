"""The history: what is written is what stands in the ledger, minute by minute."""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text

from sweeper.app import App
from sweeper.errors import LockedError
from sweeper.monitoring.history import History, Period, Series
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.postgres import clock
from tests.support.verbs import DAY, HOUR, MINUTE, NOW, SECOND, rows

WHATSAPP = "NOTIFICATION_SEND_WHATSAPP"
KINDS = ("ORDER_EXPIRE_DP", WHATSAPP, "STOCK_RELEASE")
OUTCOMES = ("done", "done", "done", "skipped", "dead", "revived", "dropped")


def writer(app: App, keep: timedelta = 90 * DAY) -> HistoryWriter:
    """Return the writer of a process of its own."""
    return HistoryWriter(app.database, [WHATSAPP], keep)


def write_scan(connection: Connection, number: int, at: datetime, found: int, sent: int) -> str:
    """Write a scan into the ledger; return its id."""
    sweep_id = f"00000000-0000-4000-8000-{number:012}"
    connection.execute(
        text(
            "insert into sweeper.sweep (id, rule, job_type, trigger, host, at, cutoff, found,"
            " enqueued, already_queued, dead, braked, anomalies, ok, keys) values (:id,"
            " 'expire_dp', 'ORDER_EXPIRE_DP', 'schedule', 'a', :at, :at, :found, :sent, 0, 0,"
            " 0, 0, true, '{}')"
        ),
        {"id": sweep_id, "at": at, "found": found, "sent": sent},
    )
    return sweep_id


def write_ending(connection: Connection, at: datetime, **columns: Any) -> dict[str, Any]:
    """Write how a job ended into the ledger; return its row."""
    row = {"job_type": KINDS[0], "sweep_id": None, "outcome": "done", "attempt": 1} | columns
    connection.execute(
        text(
            "insert into sweeper.job_log (job_type, key, msg_id, sweep_id, outcome, attempt, at)"
            " values (:job_type, 'a', 1, :sweep_id, :outcome, :attempt, :at)"
        ),
        row | {"at": at},
    )
    return row | {"at": at}


def after(calls: int) -> Callable[[], bool]:
    """Return a function that says no so many times, and then yes."""
    answers = iter([False] * calls)
    return lambda: next(answers, True)


def series(history: History) -> dict[str, Series]:
    """Return the series by name."""
    return {one.name: one for one in history.series}


def values(history: History, name: str) -> list[float | None]:
    """Return the values of one series."""
    return [point.value for point in series(history)[name].points]


def ledger_of(connection: Connection, length: timedelta) -> tuple[list[Any], dict[str, Any]]:
    """Write a random ledger of so much time until NOW; return its endings, and scans by id."""
    dice = random.Random(7)  # noqa: S311 -- a test, and the same each time
    scans: dict[str, Any] = {}
    endings = list[Any]()
    for number in range(60):
        at = NOW - length * dice.random()
        found = dice.randrange(50)
        scans[write_scan(connection, number, at, found, found // 2)] = (at, found, found // 2)
    named = list(scans)
    for _ in range(600):
        sweep_id = dice.choice([*named, "no uuid", None])
        began = scans[sweep_id][0] if sweep_id in scans else NOW - length
        ended = began + (NOW - began) * dice.random() ** 3
        endings.append(
            write_ending(
                connection,
                ended,
                job_type=dice.choice(KINDS),
                outcome=dice.choice(OUTCOMES),
                attempt=dice.randrange(1, 4),
                sweep_id=sweep_id,
            )
        )
    return endings, scans


def exact(waits: Sequence[float], share: float) -> float | None:
    """Return the wait that *share* of the jobs did not exceed."""
    ordered = sorted(waits)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)] if ordered else None


def oracle(endings: Sequence[Any], scans: dict[str, Any], period: Period) -> dict[str, list[Any]]:
    """Return what the series must be, computed row by row."""
    step = period.step
    until = NOW
    since = until - period.length
    expected: dict[str, list[Any]] = {}
    for number in range(period.length // step):
        begin, end = since + number * step, since + (number + 1) * step
        here = [row for row in endings if begin <= row["at"] < end]
        swept = [scan for scan in scans.values() if begin <= scan[0] < end]
        done = [row for row in here if row["outcome"] == "done"]
        ours = [row for row in done if row["sweep_id"] in scans and row["job_type"] == KINDS[0]]
        waits = [(row["at"] - scans[row["sweep_id"]][0]) / SECOND for row in ours]
        ended = [row for row in here if row["outcome"] in {"done", "skipped", "dead"}]
        for name, value in {
            "found": max((scan[1] for scan in swept), default=None),
            "enqueued": sum(scan[2] for scan in swept),
            "done": len(ours),
            "deaths": sum(row["outcome"] == "dead" for row in here),
            "retries": sum(row["attempt"] - 1 for row in ended),
            "outbound_per_minute": sum(r["job_type"] == WHATSAPP for r in done) / (step / MINUTE),
            "waited_p50_seconds": exact(waits, 0.5),
            "waited_p95_seconds": exact(waits, 0.95),
        }.items():
            expected.setdefault(name, []).append(value)
    return expected


@pytest.mark.parametrize("period", list(Period))
def test_the_history_is_what_stands_in_the_ledger(
    app: App, connection: Connection, period: Period
) -> None:
    """Every count is exact, and every quantile of the waits to a tenth."""
    # A row before the period makes all of it known.
    write_ending(connection, NOW - period.length - HOUR, outcome="dropped")
    endings, scans = ledger_of(connection, period.length)

    writer(app).record(NOW)
    found = series(app.history.read(period, NOW))

    expected = oracle(endings, scans, period)
    for name, wanted in expected.items():
        points = [point.value for point in found[name].points]
        if not name.startswith("waited"):
            assert wanted == points, name
            continue
        for exactly, told in zip(wanted, points, strict=True):
            assert (exactly is None) == (told is None)
            assert (
                exactly is None or told is None or exactly / 1.11 <= told <= exactly * 1.11 + 0.05
            )


def test_a_minute_begins_with_its_first_moment(app: App, connection: Connection) -> None:
    for at in (NOW - 3 * MINUTE, NOW - 2 * MINUTE - timedelta(microseconds=1), NOW - 2 * MINUTE):
        write_ending(connection, at, job_type=WHATSAPP)
    write_ending(connection, NOW, job_type=WHATSAPP)  # of the minute that is not over

    writer(app).record(NOW)

    assert [2, 1, 0] == values(app.history.read(Period.HOUR, NOW), "outbound_per_minute")[-3:]


def test_what_is_not_known_is_a_gap_and_what_did_not_happen_is_zero(
    app: App, connection: Connection
) -> None:
    """Before the ledger began nothing is known; then it is known that nothing ended."""
    write_ending(connection, NOW - 20 * MINUTE, outcome="dead")
    assert app.history.read(Period.HOUR, NOW).is_empty

    writer(app).record(NOW)

    history = app.history.read(Period.HOUR, NOW + 2 * MINUTE)
    assert [None] * 38 + [1] + [0] * 19 + [None] * 2 == values(history, "deaths")
    assert [None] * 60 == values(history, "overdue")
    day = app.history.read(Period.DAY, NOW)
    assert [None, 1, 0] == values(day, "deaths")[-3:], "it is known since the ledger began"
    later = app.history.read(Period.DAY, NOW + 2 * MINUTE)
    assert [1, None] == values(later, "deaths")[-2:], "of two of its minutes nothing is known"


def test_the_status_is_sampled_once_a_minute(app: App, connection: Connection) -> None:
    status = app.status_reader.read()
    one = writer(app)
    at = datetime.fromisoformat(status.at)
    one.saw(status)
    one.record(at + MINUTE)

    (row,) = [row for row in rows(connection, "sweeper.history") if row["overdue"] is not None]

    assert (0, 0, 0, 0.0) == tuple(
        row[name] for name in ("overdue", "waiting", "dead", "oldest_overdue_seconds")
    )
    assert dict(status.figures) == row["figures"]
    found = series(app.history.read(Period.HOUR, at + MINUTE))
    assert {0.0} == {found[name].points[-1].value for name in status.figures}
    assert [60] == sorted({row["seconds"] for row in rows(connection, "sweeper.history")})[:1]


def test_rows_that_commit_late_are_counted(app: App, connection: Connection) -> None:
    """A row has the time at which its step began, and commits later."""
    one = writer(app)
    one.record(NOW)
    write_ending(connection, NOW - 10 * SECOND, job_type=WHATSAPP)

    one.record(NOW + MINUTE)

    assert [1, 0] == values(app.history.read(Period.HOUR, NOW + MINUTE), "outbound_per_minute")[-2:]


def test_recording_again_changes_nothing(app: App, connection: Connection) -> None:
    ledger_of(connection, DAY)
    writer(app).record(NOW)
    before = rows(connection, "sweeper.history", "seconds, at")

    writer(app).record(NOW)
    writer(app).record(NOW + SECOND)

    assert before == rows(connection, "sweeper.history", "seconds, at")


def test_two_processes_record_each_minute_once(app: App, connection: Connection) -> None:
    """Whoever comes second finds it done, or held by the other."""
    endings, scans = ledger_of(connection, HOUR)
    write_ending(connection, NOW - 2 * HOUR, outcome="dropped")
    together = Barrier(4)

    def run(one: HistoryWriter) -> None:
        together.wait()
        with suppress(LockedError):
            one.record(NOW)

    threads = [Thread(target=run, args=[writer(app)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer(app).record(NOW)

    found = app.history.read(Period.HOUR, NOW)
    assert oracle(endings, scans, Period.HOUR)["done"] == values(found, "done")


def test_a_month_goes_on_where_its_last_hour_ends(app: App, connection: Connection) -> None:
    """The minutes after the last hour that was made are read themselves."""
    write_ending(connection, NOW - 10 * HOUR, outcome="dropped")
    writer(app).record(NOW)
    connection.execute(
        text("delete from sweeper.history where seconds = 3600 and at >= :at"),
        {"at": NOW - 5 * HOUR},
    )
    assert 0 == values(app.history.read(Period.MONTH, NOW), "deaths")[-1]


def test_minutes_go_after_two_days_and_hours_when_the_ledger_does(
    app: App, connection: Connection
) -> None:
    write_ending(connection, NOW - 4 * DAY, outcome="dropped")
    write_ending(connection, NOW - 60 * HOUR + MINUTE, outcome="dead")
    writer(app, keep=3 * DAY).record(NOW)

    spans = rows(connection, "sweeper.history")
    assert all(row["done"] is not None for row in spans)
    minutes = [row["at"] for row in spans if row["seconds"] == 60]
    hours = [row["at"] for row in spans if row["seconds"] == 3600]

    assert (NOW - 2 * DAY, NOW - MINUTE) == (min(minutes), max(minutes))
    assert (NOW - 3 * DAY, NOW - HOUR) == (min(hours), max(hours))
    assert 1 == sum(row["deaths"] for row in spans if row["seconds"] == 3600)


def test_a_process_that_stood_still_spoils_nothing(app: App, connection: Connection) -> None:
    """It goes on where the others are, and not where it was."""
    write_ending(connection, NOW - 4 * DAY, outcome="dropped")
    write_ending(connection, NOW - 3 * DAY - 30 * MINUTE, outcome="dead")
    frozen = writer(app)
    frozen.record(NOW - 3 * DAY - 10 * MINUTE)
    writer(app).record(NOW)
    before = rows(connection, "sweeper.history", "seconds, at")

    frozen.record(NOW)

    assert before == rows(connection, "sweeper.history", "seconds, at")


def test_a_host_whose_clock_is_ahead_writes_and_deletes_nothing_of_the_future(
    app: App, connection: Connection
) -> None:
    """The database's clock says which minutes are over, and which are old."""
    now = clock.now()
    write_ending(connection, now - 3 * HOUR, outcome="dead")
    right, ahead = writer(app), writer(app)
    right.record(now)
    before = rows(connection, "sweeper.history", "seconds, at")

    ahead.record(now + 200 * DAY, after(4))
    found = rows(connection, "sweeper.history", "seconds, at")

    assert before == [row for row in found if row["done"] is not None]


def test_what_strangers_write_into_messages_does_not_stop_it(
    app: App, connection: Connection
) -> None:
    """A message may claim any attempt and any sweep."""
    write_ending(connection, NOW - MINUTE, attempt=2_147_483_647, outcome="dead")
    write_ending(connection, NOW - MINUTE, sweep_id="' or true --")
    write_ending(connection, NOW - MINUTE, attempt=-5)

    writer(app).record(NOW)

    assert 99 == values(app.history.read(Period.HOUR, NOW), "retries")[-1]


def test_a_call_that_must_stop_ends_between_two_hours(app: App, connection: Connection) -> None:
    write_ending(connection, NOW - DAY, outcome="dropped")
    writer(app).record(NOW, after(2))
    assert NOW - 22 * HOUR - MINUTE == max(
        r["at"] for r in rows(connection, "sweeper.history") if r["seconds"] == 60
    )
