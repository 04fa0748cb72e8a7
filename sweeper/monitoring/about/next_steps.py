"""Next steps: what a person may do about one key now, with the command to type."""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from sweeper.catalog import Catalog
from sweeper.monitoring.about.place import Place, State
from sweeper.queue.pause import Pause
from sweeper.queue.read import EVERYTHING

_OFTEN = 5  # postponements in a row, half a minute after the first; trouble that passes is over


@dataclass(frozen=True, slots=True)
class NextStep:
    """What may be done, and the command for a shell; None where there is none to type."""

    what: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Holds:
    """What may keep a due row from being enqueued.

    enabled -- the rules that are on
    scans   -- the latest scan of each rule, by rule
    pauses  -- those that are in force
    """

    enabled: Collection[str]
    scans: Mapping[str, Row[Any]]
    pauses: Sequence[Pause]

    def pause_of(self, target: str) -> Pause | None:
        """Return the pause that holds *target* now, or everything."""
        held = (one for one in self.pauses if one.target in {target, EVERYTHING})
        return next(held, None)

    def why(self, rule: str) -> str:
        """Return what becomes of a row that *rule* finds due, and that has no job yet."""
        if rule not in self.enabled:
            return "the rule is off"
        if self.pause_of(rule):
            return "the rule is paused"
        scan = self.scans.get(rule)
        return "stopped: too many are due" if scan and not scan.ok else "the next scan finds it"


def of_places(places: Sequence[Place], holds: Holds) -> Iterator[NextStep]:
    """Yield what may be done about messages where they are."""
    for place in places:
        if place.state is State.DEAD:
            yield from of_letter(place.msg_id)
            continue
        if place.state is State.HIDDEN:
            yield NextStep("No scan waits for the hidden message: what is due is enqueued again.")
        if place.has_failed and place.state in {State.READY, State.DELAYED}:
            what = "A running service tries it again when it is time; without one, this does then."
            yield NextStep(what, "sweeper drain")
        if place.postponed >= _OFTEN:
            what = (
                "Somebody may have locked its rows: this names sessions that hold locks for long."
            )
            yield NextStep(what, "sweeper doctor")
        if pause := holds.pause_of(place.queue):
            yield NextStep(f"{pause}.", f"sweeper resume {shlex.quote(pause.target)}")


def of_letter(msg_id: int) -> tuple[NextStep, NextStep]:
    """Return what may be done about a dead letter."""
    return (
        NextStep("Mend the cause, then send its job again.", f"sweeper dead retry {msg_id}"),
        NextStep(
            "Or let it go; a scan enqueues what is still due anew.", f"sweeper dead drop {msg_id}"
        ),
    )


def of_rule(rule: str, holds: Holds) -> Iterator[NextStep]:
    """Yield what may be done about a row that *rule* finds due, and that has no job yet."""
    name, scan = shlex.quote(rule), holds.scans.get(rule)
    if rule not in holds.enabled:
        yield NextStep(f"The rule is off: set rules.{rule}.enabled, and start the service again.")
    elif pause := holds.pause_of(rule):
        yield NextStep(f"{pause}.", f"sweeper resume {shlex.quote(pause.target)}")
    elif scan and not scan.ok:
        what = f"Stopped: too many were due ({scan.found:,}). Look at what they are."
        yield NextStep(what, f"sweeper sweep {name} --dry-run")
        what = "If it is right that so many are due, allow more, and say why."
        yield NextStep(what, f"sweeper sweep {name} --max {scan.found} --reason REASON")
    else:
        yield NextStep("The next scan finds it; this scans at once.", f"sweeper sweep {name}")


def of_job_files(tx: Connection, catalog: Catalog, key: str) -> Iterator[NextStep]:
    """Yield what the job files know that may be done about *key*."""
    for query in catalog.next_steps:
        for what, command in tx.execute(query(key)):
            yield NextStep(what, command and command.replace("{key}", in_shell(key)))


def in_shell(key: str) -> str:
    """Return *key* as the last argument of a command: a shell takes it as one word, no option."""
    return f"{'-- ' if key.startswith('-') else ''}{shlex.quote(key)}"
