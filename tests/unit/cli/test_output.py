"""`status --watch`: it shows the status repeatedly, and the error while it cannot be read."""

from collections.abc import Iterator

import pytest
from rich.console import Console

from sweeper.cli import output
from sweeper.monitoring.status import Dead, Overdue, Server, Status
from sweeper.queue.inspect import Depth


def readings() -> Iterator[Status | str]:
    """Yield two statuses with an outage between them; the end of them ends the watch."""
    for ready in (7, None, 8):
        yield status(ready) if ready else "database at db:5432: it is away"


def status(ready: int) -> Status:
    """Return a status with so many ready messages."""
    return Status(
        at="2026-01-31T12:00:00.000Z",
        queues={"jobs": Depth(ready, 0, 0, 1.0, None)},
        dead=Dead(0, 0.0),
        rules={"expire_dp": Overdue(3, 60.0, 0, None, None)},
        database=Server("1.5.1", "18.0", 0.0),
        figures={"refunds_owed": 4.0},
    )


@pytest.mark.parametrize("is_terminal", [False, True])
def test_watching_the_status_continues_through_an_outage(
    is_terminal: bool,  # noqa: FBT001 -- a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(output, "out", Console(highlight=False, force_terminal=is_terminal))

    with pytest.raises(StopIteration):
        output.watch(readings().__next__, every=0.0)

    shown = capsys.readouterr().out
    assert "expire_dp" in shown
    assert "refunds owed: 4" in shown
    if not is_terminal:  # a terminal shows the latest only
        assert "it is away" in shown
