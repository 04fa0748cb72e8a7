"""The ledger of acts: each act commits with its effect, or is written down around it."""

from collections.abc import Iterable
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from sweeper.app import App
from sweeper.errors import UsageError
from sweeper.monitoring.acts import ActFilter, PastAct, acts_about
from sweeper.queue.acts import Action, By, Origin
from sweeper.queue.dead_letters import dead_letter, dead_letter_queue
from sweeper.queue.dead_letters.dead_letter import DeadLetter, fingerprint
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.retry import DeadReason
from tests.support.verbs import HOUR, NOW, QUEUE, OpenApp, dead_letters, messages, rows

RATIH = By("ratih", Origin.UNIT)


def bury(app: App, keys: Iterable[str]) -> list[int]:
    """Send a dead letter for each key, and return their ids."""
    error = "no luck"
    letters = [
        DeadLetter(
            type="MAKE_COFFEE",
            key=key,
            reason=DeadReason.EXHAUSTED,
            error=error,
            attempts=4,
            died_at=NOW,
            queue=QUEUE,
            fingerprint=fingerprint("MAKE_COFFEE", error),
            body="{}",
        )
        for key in keys
    ]
    with app.database.transaction() as tx:
        return dead_letter.send(tx, app.queues, letters)


def acts(app: App, **choice: object) -> list[PastAct]:
    """Return the acts, the latest first."""
    return list(app.act_reader.read(ActFilter(**choice)).acts)  # type: ignore[arg-type]


def about(app: App, key: str) -> list[PastAct]:
    """Return the acts about *key*, the oldest first."""
    with app.database.transaction() as tx:
        return acts_about(tx, key)


def drop(app: App, by: By = RATIH) -> list[int]:
    """Drop all dead letters, as `sweeper dead drop --all` does."""
    with app.acts.recording(Action.DROP, "all", by, "the shop is closed") as act:
        return app.dead_letter_queue.drop(DeadLetterFilter(), act)


def test_an_act_of_one_transaction_is_one_row_that_commits_with_its_effect(
    app: App, connection: Connection
) -> None:
    with app.acts.recording(Action.PAUSE, "expire_dp", RATIH, "wrong clock") as act:
        app.pauses.pause("expire_dp", HOUR, "ratih", "wrong clock", act)

    (row,) = rows(connection, "sweeper.act")
    (pause,) = rows(connection, "sweeper.pause")
    (told,) = acts(app)
    assert (pause["since"], "done") == (row["at"], row["outcome"])
    assert ("pause", "expire_dp", "ratih", "unit", "wrong clock", "done") == (
        told.action,
        told.subject,
        told.actor,
        told.origin,
        told.reason,
        told.outcome,
    )


def test_an_act_whose_transaction_fails_is_one_row_that_says_so(
    app: App, connection: Connection
) -> None:
    """What was written in the transaction went with it."""

    def purge() -> None:
        with (
            app.acts.recording(Action.PURGE, QUEUE, RATIH) as act,
            app.database.transaction() as tx,
        ):
            act.done(tx, "5 messages deleted")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        purge()

    (row,) = rows(connection, "sweeper.act")
    assert ("failed", "ZeroDivisionError: ZeroDivisionError") == (row["outcome"], row["detail"])


def test_a_request_that_makes_no_sense_is_no_act(app: App, connection: Connection) -> None:
    with (
        capture_logs() as lines,
        pytest.raises(UsageError),
        app.acts.recording(Action.RETRY, "7", RATIH) as act,
    ):
        app.dead_letter_queue.retry(DeadLetterFilter(ids=[7]), act)

    assert ([], []) == (rows(connection, "sweeper.act"), lines)


def test_an_act_that_fails_between_its_parts_shows_what_it_had_done(
    app: App, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_queue, "_CHUNK", 2)
    bury(app, "abcd")
    connection.execute(
        text(
            "create function refuse() returns trigger language plpgsql as"
            " $$ begin raise exception 'out of order'; end $$;"
            "create trigger refuse before insert on sweeper.job_log for each row"
            " when (new.key = 'c') execute function refuse()"
        )
    )

    with pytest.raises(Exception, match="out of order"):
        drop(app)

    (told,) = acts(app)
    assert ("failed", "RaiseException: out of order") == (told.outcome, told.detail)
    assert ["c", "d"] == [letter.key for letter in dead_letters(app)]
    assert ["part"] == [act.outcome for act in about(app, "b")]
    assert [] == about(app, "c")


def test_each_part_names_its_keys_in_its_own_transaction(
    app: App, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_queue, "_CHUNK", 2)
    bury(app, "abc")

    drop(app)

    written = rows(connection, "sweeper.act", "id")
    ended = {row["key"]: row["xmin"] for row in _with_xmin(connection, "job_log", "key")}
    parts = [row for row in _with_xmin(connection, "act", "keys") if row["keys"]]
    assert ["begun", "part", "part", "done"] == [row["outcome"] for row in written]
    assert {tuple(part["keys"]): part["xmin"] for part in parts} == {
        ("a", "b"): ended["a"],
        ("c",): ended["c"],
    }
    assert [("done", written[0]["at"])] == [(act.outcome, act.at) for act in acts(app)]


def test_what_two_people_do_at_once_is_two_acts_and_no_letter_is_in_both(
    app: App, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1: a dead letter is taken once."""
    monkeypatch.setattr(dead_letter_queue, "_CHUNK", 5)
    keys = [f"o{number}" for number in range(40)]
    bury(app, keys)
    together, names = Barrier(2), ("ratih", "sari")

    def act(name: str) -> None:
        other = open_app()
        together.wait()
        drop(other, By(name, Origin.COMMAND))

    threads = [Thread(target=act, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {("ratih", "done"), ("sari", "done")} == {(one.actor, one.outcome) for one in acts(app)}
    assert [1] * 40 == [len(about(app, key)) for key in keys]


@pytest.mark.parametrize("action", ["drop", "pause"])
def test_an_act_that_cannot_be_written_down_is_done_all_the_same_and_told(
    app: App, connection: Connection, action: str
) -> None:
    """At night, with grants that are older than the table, an operator must be able to act."""
    (letter,) = bury(app, "a")
    connection.execute(text("alter table sweeper.act rename to elsewhere"))

    with capture_logs() as lines:
        if action == "drop":
            assert [letter] == drop(app)
        else:
            with app.acts.recording(Action.PAUSE, "expire_dp", RATIH, "why") as act:
                app.pauses.pause("expire_dp", None, "ratih", "why", act)

    assert (0 if action == "drop" else 1) == len(dead_letters(app))
    assert (1 if action == "pause" else 0) == len(app.pauses.read())
    told = {line["event"]: line for line in lines}
    assert ["act.not_recorded", "act.finished"] == [line["event"] for line in lines]
    assert "warning" == told["act.not_recorded"]["log_level"]
    assert 'relation "sweeper.act" does not exist' in told["act.not_recorded"]["error"]
    assert (action, "ratih", "done") == tuple(
        told["act.finished"][name] for name in ("action", "actor", "outcome")
    )


def test_an_error_of_the_effect_is_not_taken_for_one_of_the_books(
    app: App, connection: Connection
) -> None:
    """Otherwise an act would count as done that the database refused."""
    connection.execute(text("alter table sweeper.pause add check (target <> 'expire_dp')"))

    with (
        capture_logs() as lines,
        pytest.raises(Exception, match="pause_target_check"),
        app.acts.recording(Action.PAUSE, "expire_dp", RATIH, "why") as act,
    ):
        app.pauses.pause("expire_dp", None, "ratih", "why", act)

    assert ["failed"] == [one.outcome for one in acts(app)]
    assert ["act.finished"] == [line["event"] for line in lines]


def test_without_a_database_only_the_log_has_the_act(open_app: OpenApp) -> None:
    app = open_app(url="postgresql://nobody@127.0.0.1:1/none", database__connect_timeout="1s")

    with (
        capture_logs() as lines,
        pytest.raises(Exception, match="refused"),
        app.acts.recording(Action.PAUSE, "expire_dp", RATIH, "why") as act,
    ):
        app.pauses.pause("expire_dp", None, "ratih", "why", act)

    assert [("act.not_recorded", None), ("act.finished", "failed")] == [
        (line["event"], line.get("outcome")) for line in lines
    ]


def test_each_act_of_a_process_that_people_do_not_look_at_is_an_event(app: App) -> None:
    (letter,) = bury(app, "a")

    with capture_logs() as lines, app.acts.recording(Action.RETRY, "all", RATIH) as act:
        app.dead_letter_queue.retry(DeadLetterFilter(), act)
        act.finish(f"1: {letter}")

    (line,) = lines
    assert line.pop("duration_ms") >= 0
    assert {
        "event": "act.finished",
        "log_level": "info",
        "action": "retry",
        "subject": "all",
        "actor": "ratih",
        "origin": "unit",
        "reason": None,
        "outcome": "done",
        "detail": f"1: {letter}",
    } == line


def test_a_command_that_is_typed_tells_the_person_and_logs_nothing(app: App) -> None:
    """Its stderr is the person's, and has an error's one or two lines only."""
    by = By("ratih", Origin.COMMAND)

    with capture_logs() as lines, app.acts.recording(Action.RESUME, "everything", by) as act:
        app.pauses.resume("everything", act)

    assert (["done"], []) == ([one.outcome for one in acts(app)], lines)


def test_what_people_write_is_bounded_masked_and_visible(app: App, connection: Connection) -> None:
    """L11: no phone number; and no text moves a terminal's cursor or ends the row."""
    hostile = "\x1b[2J call 0812-3456-7890\x00\n\u202egnp " + "x" * 5_000
    by = By("ratih\x1b[31m", Origin.API)

    with app.acts.recording(Action.RESUME, hostile, by, hostile) as act:
        app.pauses.resume("everything", act)

    (row,) = rows(connection, "sweeper.act")
    for name in ("subject", "reason"):
        assert r"\x1b[2J call [phone]\x00\n\u202egnp xxx" in row[name]
        assert len(row[name]) < 300
    assert r"ratih\x1b[31m" == row["actor"]


def test_a_key_of_any_length_is_found(app: App) -> None:
    """An index takes no text of any length: a hostile key must not keep its letter undroppable."""
    long = "k" * 5_000 + "\u00e9" * 5_000
    bury(app, [long])

    assert 1 == len(drop(app))

    assert ["ratih"] == [act.actor for act in about(app, long)]


def test_a_job_enqueued_by_hand_names_its_key(app: App) -> None:
    with app.acts.recording(Action.ENQUEUE, "ORDER_EXPIRE_DP", RATIH) as act:
        app.enqueue("ORDER_EXPIRE_DP", {"orderId": "o1"}, act=act)

    (told,) = about(app, "o1")
    (message,) = messages(app)
    assert f"message {message.msg_id} in {QUEUE}" == told.detail


def test_an_act_about_an_order_is_a_fact_of_it(app: App) -> None:
    bury(app, "a")

    with app.acts.recording(Action.RETRY, "12", RATIH, "the provider is back") as act:
        app.dead_letter_queue.retry(DeadLetterFilter(), act)

    facts = [fact.what for fact in app.explainer.explain("a").facts]
    assert "dead letter retried by ratih (unit): the provider is back" in facts


def test_the_acts_are_read_a_page_at_a_time(app: App) -> None:
    for number in range(5):
        with app.acts.recording(Action.RESUME, f"{number}", RATIH) as act:
            app.pauses.resume("everything", act)

    first = app.act_reader.read(ActFilter(limit=2))
    second = app.act_reader.read(ActFilter(limit=2, before=first.older))
    third = app.act_reader.read(ActFilter(limit=2, before=second.older))

    subjects = [[act.subject for act in page.acts] for page in (first, second, third)]
    assert [["4", "3"], ["2", "1"], ["0"]] == subjects
    assert third.older is None


def test_the_acts_are_filtered(app: App, connection: Connection) -> None:
    for action, name in (
        (Action.RESUME, "ratih"),
        (Action.PURGE, "ratih"),
        (Action.RESUME, "sari"),
    ):
        with app.acts.recording(action, "everything", By(name, Origin.PAGE)) as act:
            app.pauses.resume("everything", act)
    connection.execute(text("update sweeper.act set at = at - interval '3 h' where actor = 'sari'"))

    chosen = [
        [(one.action, one.actor) for one in acts(app, **choice)]
        for choice in (
            {"action": Action.RESUME},
            {"actor": "ratih"},
            {"since": 2 * HOUR},
            {"action": Action.DROP},
        )
    ]

    assert [
        [("resume", "sari"), ("resume", "ratih")],
        [("purge", "ratih"), ("resume", "ratih")],
        [("purge", "ratih"), ("resume", "ratih")],
        [],
    ] == chosen


def test_an_act_about_a_key_is_found_by_an_index(app: App, connection: Connection) -> None:
    """`explain` and the list stay cheap, however many acts there are."""
    connection.execute(
        text(
            "insert into sweeper.act (action, subject, actor, origin, host, outcome, begun, keys)"
            " select 'drop', 'all', 'ratih', 'command', 'h', outcome, begun, array['k' || n]"
            " from generate_series(1, 20000) n,"
            " lateral (values ('begun', null), ('part', 2 * n), ('done', 2 * n)) v(outcome, begun)"
        )
    )
    connection.execute(text("analyze sweeper.act"))

    plan = "\n".join(
        connection.execute(
            text("explain select * from sweeper.act where keys @> array['k7'] order by id desc")
        ).scalars()
    )
    assert "act_keys" in plan
    assert 50 == len(acts(app))


def _with_xmin(connection: Connection, table: str, column: str) -> list[dict[str, Any]]:
    query = text(
        f"select {column}, cast(cast(xmin as text) as bigint) as xmin from sweeper.{table}"
    )
    return [dict(row) for row in connection.execute(query).mappings()]
