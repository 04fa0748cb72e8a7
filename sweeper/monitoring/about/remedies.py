"""Remedies: what a person may do about one key now, with the command to type."""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from sweeper.catalog import Catalog
from sweeper.monitoring.about.place import Place, State
from sweeper.queue.pause import Pause
from sweeper.queue.read import EVERYTHING


@dataclass(frozen=True, slots=True)
class Remedy:
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
        return "the brake holds" if scan and not scan.ok else "the next scan finds it"


def of_places(places: Sequence[Place], holds: Holds) -> Iterator[Remedy]:
    """Yield what may be done about messages where they are."""
    for place in places:
        if place.state is State.DEAD:
            yield from of_letter(place.msg_id)
            continue
        if place.state is State.HIDDEN:
            yield Remedy("No scan waits for the hidden message: what is due is enqueued again.")
        if pause := holds.pause_of(place.queue):
            yield Remedy(f"{pause}.", f"sweeper resume {shlex.quote(pause.target)}")


def of_letter(msg_id: int) -> tuple[Remedy, Remedy]:
    """Return what may be done about a dead letter."""
    return (
        Remedy("Mend the cause, then send its job again.", f"sweeper dead retry {msg_id}"),
        Remedy(
            "Or let it go; a scan enqueues what is still due anew.", f"sweeper dead drop {msg_id}"
        ),
    )


def of_rule(rule: str, holds: Holds) -> Iterator[Remedy]:
    """Yield what may be done about a row that *rule* finds due, and that has no job yet."""
    name, scan = shlex.quote(rule), holds.scans.get(rule)
    if rule not in holds.enabled:
        yield Remedy(f"The rule is off: set rules.{rule}.enabled, and start the service again.")
    elif pause := holds.pause_of(rule):
        yield Remedy(f"{pause}.", f"sweeper resume {shlex.quote(pause.target)}")
    elif scan and not scan.ok:
        what = f"The brake holds: {scan.found:,} were due. Look at what they are."
        yield Remedy(what, f"sweeper sweep {name} --dry-run")
        what = "If it is right that so many are due, allow more, and say why."
        yield Remedy(what, f"sweeper sweep {name} --max {scan.found} --reason REASON")
    else:
        yield Remedy("The next scan finds it; this scans at once.", f"sweeper sweep {name}")


def of_job_files(tx: Connection, catalog: Catalog, key: str) -> Iterator[Remedy]:
    """Yield what the job files know that may be done about *key*."""
    for query in catalog.remedies:
        for what, command in tx.execute(query(key)):
            yield Remedy(what, command and command.replace("{key}", in_shell(key)))


def in_shell(key: str) -> str:
    """Return *key* as the last argument of a command: a shell takes it as one word, no option."""
    return f"{'-- ' if key.startswith('-') else ''}{shlex.quote(key)}"
