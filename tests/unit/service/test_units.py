"""The systemd units: shared settings are equal in both, and the deadlines fit together."""

from pathlib import Path

import pytest

from sweeper import catalog, durations, settings
from tests.support.paths import ROOT

FOLDER = ROOT / "systemd"
SERVICE, SWEEP = FOLDER / "sweeper.service", FOLDER / "sweeper-sweep@.service"

# The settings that may differ between the two units.
DIFFERENT = {
    "Type",
    "ExecStart",
    "ExecReload",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "WatchdogSec",
}
DIFFERENT |= {"TimeoutStartSec", "TimeoutStopSec", "TimeoutAbortSec", "KillMode"}


def lines(path: Path, section: str = "Service") -> list[tuple[str, str]]:
    """Return the names and values of a section's settings, in order."""
    _, _, rest = path.read_text("utf-8").partition(f"[{section}]\n")
    settings = (line for line in rest.split("\n[")[0].splitlines() if line and line[0] != "#")
    return [(name, value) for name, _, value in (line.partition("=") for line in settings)]


def test_both_units_have_the_same_sandbox() -> None:
    """The reasons are written as comments in the service's unit only."""
    service, sweep = (
        [(name, value) for name, value in lines(path) if name not in DIFFERENT]
        for path in (SERVICE, SWEEP)
    )

    assert service == sweep


def test_systemd_waits_longer_for_the_stop_than_the_service_needs() -> None:
    """L5: jobs in flight get the whole grace period, with time left for the page to close."""
    grace = settings.load(catalog.load("jobs")).service.shutdown_grace

    assert durations.parse(dict(lines(SERVICE))["TimeoutStopSec"]) > grace * 1.3


@pytest.mark.parametrize("path", [SERVICE, SWEEP], ids=lambda path: path.name)
def test_no_secret_is_passed_in_the_environment(path: Path) -> None:
    """L11: other processes may read an environment; only the service can read its credentials."""
    names = {name for name, _ in lines(path)}

    assert "LoadCredential" in names
    assert set() == names & {"EnvironmentFile", "PassEnvironment", "SetCredential"}


def test_every_line_of_the_service_unit_has_a_comment_with_its_reason() -> None:
    """The comment is right above the line, or above the group of lines that it belongs to."""
    has_reason, unexplained = False, []
    for line in SERVICE.read_text("utf-8").partition("[Service]\n")[2].splitlines():
        has_reason = line.startswith("#") or (has_reason and bool(line))
        if line and line[0] not in "#[" and not has_reason and not line.startswith("WantedBy="):
            unexplained.append(line)

    assert [] == unexplained
