"""Places: where the jobs of one key are now, in a live queue or among the dead letters."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sweeper.humanize import at
from sweeper.postgres.clock import iso
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.queue.live_messages import WaitingMessage


class State(StrEnum):
    """What can happen to a message next.

    READY     -- the next worker reads it
    IN_FLIGHT -- a worker has read it, and holds its lease
    DELAYED   -- it can be read from a time on
    HIDDEN    -- that time is so late that no scan waits for it
    DEAD      -- only a person brings it back
    """

    READY = "ready"
    IN_FLIGHT = "in_flight"
    DELAYED = "delayed"
    HIDDEN = "hidden"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one message is, and since when.

    visible_at -- None for a dead letter
    failures   -- how often its job has raised, as the message says
    error      -- of the last failure
    postponed  -- how often in a row it was postponed
    """

    queue: str
    msg_id: int
    type: str | None
    state: State
    since: datetime
    visible_at: datetime | None
    read_ct: int
    failures: str | None
    error: str | None
    reason: str | None = None
    postponed: int = 0

    def __str__(self) -> str:
        message = f"message {self.msg_id}"
        until = f"{at(self.visible_at, seconds=True)} UTC" if self.visible_at else "some time"
        match self.state:
            case State.READY:
                return f"{message} waits in {self.queue}"
            case State.IN_FLIGHT:
                return f"{message} of {self.queue} is in flight"
            case State.DELAYED:
                return f"{message} waits in {self.queue} until {until}"
            case State.HIDDEN:
                return f"{message} is hidden in {self.queue} until {self.visible_at:%Y-%m-%d}"
            case State.DEAD:
                return f"dead letter {self.msg_id}: {self.reason}"

    @property
    def has_failed(self) -> bool:
        """Whether its job has raised, and runs again."""
        return self.state is not State.DEAD and self.failures not in {None, "0"}

    @property
    def trouble(self) -> str:
        """What its job has raised the last time, where it has; else nothing."""
        if not self.has_failed:
            return ""
        times = "once" if self.failures == "1" else f"{self.failures} times, the last time"
        return f"it has failed {times} with: {self.error or 'an error that nobody wrote down'}"

    def as_json(self) -> dict[str, Any]:
        """Return the place as the JSON documents show it."""
        visible = iso(self.visible_at) if self.visible_at else None
        return asdict(self) | {"since": iso(self.since), "visible_at": visible}


def of_message(one: WaitingMessage) -> Place:
    """Return the place of a live message."""
    states = {State.HIDDEN: one.hidden, State.READY: one.ready, State.IN_FLIGHT: one.read_ct > 0}
    return Place(
        queue=one.queue,
        msg_id=one.msg_id,
        type=one.type,
        state=next((state for state, holds in states.items() if holds), State.DELAYED),
        since=one.enqueued_at,
        visible_at=one.visible_at,
        read_ct=one.read_ct,
        failures=one.retry_count,
        error=one.last_error,
        postponed=one.postponed or 0,
    )


def of_letter(letter: DeadLetter, queue: str) -> Place:
    """Return the place of a dead letter, which lies in *queue*."""
    return Place(
        queue=queue,
        msg_id=letter.msg_id,
        type=letter.type,
        state=State.DEAD,
        since=letter.died_at,
        visible_at=None,
        read_ct=0,
        failures=str(letter.attempts),
        error=letter.error,
        reason=letter.reason,
    )
