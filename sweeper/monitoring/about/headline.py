"""The headline of one key: what is the matter with it now, in one sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sweeper.humanize import age
from sweeper.monitoring.about.facts import Fact
from sweeper.monitoring.about.next_steps import Holds
from sweeper.monitoring.about.place import Place, State


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """Whether a rule finds the key due, and the value of each term of its condition.

    job   -- the type of the job that the rule sends
    since -- since when it is due, by the rule's limit; None where it is not due
    """

    due: bool
    terms: Mapping[str, bool | None]
    job: str = ""
    since: datetime | None = None


def headline(
    checks: Mapping[str, RuleCheck],
    places: Sequence[Place],
    last: Fact | None,
    holds: Holds,
    now: datetime,
) -> str:
    """Return what is the matter: what is dead, due, on its way, ended, or why it is not due.

    last -- how its job ended the last time
    """
    dead = [place for place in places if place.state is State.DEAD]
    due = {name: check for name, check in checks.items() if check.due}
    if dead:
        late = "".join(f" It is due for {name}{_for(check, now)}." for name, check in due.items())
        return f"Dead: {dead[0].type or 'an unreadable job'} ({dead[0].reason}).{late}"
    if due:
        name, check = next(iter(due.items()))
        job = job_of(check, places)
        return f"Due for {name}{_for(check, now)}; {job or holds.why(name)}{_after(job)}."
    if places:
        return f"Not due; {places[0]}{_after(places[0])}."
    if last:
        ago = age((now - last.at).total_seconds())
        return f"Not due: {last.what}, {ago} ago."
    if checks:
        return f"Not due: {_nearest(checks)}."
    return "The order no longer exists, or never did."


def job_of(check: RuleCheck, places: Sequence[Place]) -> Place | None:
    """Return where the job of a due row is; None where a scan would enqueue one."""
    found = (p for p in places if p.type == check.job and p.state is not State.HIDDEN)
    return next(found, None)


def _after(job: Place | None) -> str:
    """Return that a job waits after a failure; nothing where it has not failed."""
    return ", after it has failed" if job and job.has_failed else ""


def _for(check: RuleCheck, now: datetime) -> str:
    """Return since when a row is due; nothing where its rule does not say."""
    return f" since {age((now - check.since).total_seconds())}" if check.since else ""


def _nearest(checks: Mapping[str, RuleCheck]) -> str:
    """Return what keeps the row from being due for the rule most of whose terms hold."""

    def missing(name: str) -> list[str]:
        return [term for term, holds in checks[name].terms.items() if not holds]

    name = min(checks, key=lambda name: len(missing(name)))
    terms = " and that ".join(missing(name))
    return f"{name} would, but it is not so that {terms}" if terms else "no rule tells why"
