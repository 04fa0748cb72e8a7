"""The units: what stands in both stands in both alike, and no deadline cuts another short."""

from pathlib import Path

import pytest

from sweeper import catalog, durations, settings
from tests.support.paths import ROOT

FOLDER = ROOT / "systemd"
SERVICE, SWEEP = FOLDER / "sweeper.service", FOLDER / "sweeper-sweep@.service"

# What one of them has for itself.
OWN = {"Type", "ExecStart", "Restart", "RestartSec", "RestartPreventExitStatus", "WatchdogSec"}
OWN |= {"TimeoutStartSec", "TimeoutStopSec", "TimeoutAbortSec", "KillMode"}


def lines(path: Path, section: str = "Service") -> list[tuple[str, str]]:
    """Return a section's settings, in their order."""
    _, _, rest = path.read_text("utf-8").partition(f"[{section}]\n")
    told = (line for line in rest.split("\n[")[0].splitlines() if line and line[0] != "#")
    return [(name, value) for name, _, value in (line.partition("=") for line in told)]


def test_both_are_confined_alike() -> None:
    """The reasons stand in the service's unit alone."""
    service, sweep = (
        [(name, value) for name, value in lines(path) if name not in OWN]
        for path in (SERVICE, SWEEP)
    )

    assert service == sweep


def test_systemd_has_more_patience_than_the_service() -> None:
    """L5: work in flight has its whole grace, and a page that closes besides."""
    grace = settings.load(catalog.load("jobs")).service.shutdown_grace

    assert durations.parse(dict(lines(SERVICE))["TimeoutStopSec"]) > grace * 1.3


@pytest.mark.parametrize("path", [SERVICE, SWEEP], ids=lambda path: path.name)
def test_no_secret_is_handed_over_in_the_environment(path: Path) -> None:
    """L11: an environment can be read; a credential only by the service."""
    handed = {name for name, _ in lines(path)}

    assert "LoadCredential" in handed
    assert set() == handed & {"EnvironmentFile", "PassEnvironment", "SetCredential"}


def test_every_line_of_the_service_says_why() -> None:
    """In a comment right above it, or above the group that it ends."""
    reason, silent = False, []
    for line in SERVICE.read_text("utf-8").partition("[Service]\n")[2].splitlines():
        reason = line.startswith("#") or (reason and bool(line))
        if line and line[0] not in "#[" and not reason and not line.startswith("WantedBy="):
            silent.append(line)

    assert [] == silent
