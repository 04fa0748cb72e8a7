"""A reload (SIGHUP): tokens change without a gap, and nothing that is wrong comes into force."""

import signal
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper import catalog, settings
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.web import tokens
from sweeper.web.tokens import Scope
from tests.support.running import Running, Start, until
from tests.support.verbs import HOUR
from tests.support.web_client import Site, sign_in

OLD, NEW = tokens.make(), tokens.make()
ELSEWHERE = {"host": "sweeper.example"}


class Settings:
    """The settings file of a service, and the signal that has it read anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write({})

    def write(self, named: Mapping[str, str], more: str = "") -> None:
        """Write the file with tokens that may act, by name, and more of a TOML file."""
        lines = [f'{name} = "{tokens.line(one, Scope.ACT)}"' for name, one in named.items()]
        self.path.write_text("\n".join(["[web.tokens]", *lines, more]), "utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a service that reads this file, and serves its page."""
        return {
            "SWEEPER_CONFIG": str(self.path),
            "SWEEPER_WEB__ENABLED": "true",
            "SWEEPER_WEB__PORT": "0",
        }


@pytest.fixture
def file(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "sweeper.toml")


def reload(service: Running) -> dict[str, Any]:
    """Reload, and return the line that tells what came of it."""

    def told() -> list[dict[str, Any]]:
        return [*service.logged("settings.reloaded"), *service.logged("settings.refused")]

    before = len(told())
    service.process.send_signal(signal.SIGHUP)
    until(lambda: len(told()) > before)
    return max(told(), key=lambda line: line["timestamp"])


def site_of(service: Running) -> Site:
    address = str(service.wait_for("web.opened")["address"])
    return Site(address, Stats(), Health({}, HOUR, {}, HOUR), Event())


def catches(status: str, number: int) -> bool:
    """Return whether a process, by its status in /proc, has a handler for a signal."""
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) & 1 << (number - 1))


def reads(site: Site, token: str) -> int:
    """Return the status of reading from another machine."""
    return site.get("/", **ELSEWHERE, authorization=f"Bearer {token}").status


def test_a_token_is_changed_without_a_gap_and_without_a_restart(
    start: Start, file: Settings
) -> None:
    """Both are valid at once; the old one's bearer and its sessions are then refused at once."""
    file.write({"ci": OLD})
    service = start(**file.environment)
    service.wait_for("service.ready")
    site = site_of(service)
    browser = sign_in(site, OLD) | ELSEWHERE
    assert (200, 401, 200) == (reads(site, OLD), reads(site, NEW), site.get("/", **browser).status)

    file.write({"ci": OLD, "ci-2": NEW})
    added = reload(service)
    assert (200, 200, 200) == (reads(site, OLD), reads(site, NEW), site.get("/", **browser).status)

    file.write({"ci-2": NEW})
    removed = reload(service)
    assert (401, 200, 401) == (reads(site, OLD), reads(site, NEW), site.get("/", **browser).status)

    assert [["web.tokens.ci-2"], ["web.tokens.ci"]] == [added["changed"], removed["changed"]]
    assert 1 == len(service.logged("service.started"))
    assert 0 == service.stop()


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("[log]\nlevel = 'loud'", "log.level"),
        ("[safety]\nmax_per_sweep = 0", "safety.max_per_sweep"),
        ("[safety]\nmax_per_swep = 5", "is not a setting"),
        ("no TOML", "is not valid TOML"),
        ("[retry]\nmax_retries = -1", "retry.max_retries"),
    ],
)
def test_settings_with_a_fault_are_refused_as_a_whole(
    start: Start, file: Settings, more: str, fault: str
) -> None:
    """Not even the token beside the fault changes; the faults are named, and no secret is."""
    file.write({"ci": OLD})
    service = start(**file.environment)
    service.wait_for("service.ready")
    site = site_of(service)
    file.write({"ci-2": NEW}, more)

    refused = reload(service)

    assert ("settings.refused", "warning") == (refused["event"], refused["level"])
    assert fault in "\n".join(refused["faults"])
    assert (200, 401) == (reads(site, OLD), reads(site, NEW))
    file.write({"ci-2": NEW})
    assert "settings.reloaded" == reload(service)["event"]
    assert (401, 200) == (reads(site, OLD), reads(site, NEW))


def test_a_file_that_is_away_changes_nothing(start: Start, file: Settings) -> None:
    file.write({"ci": OLD})
    service = start(**file.environment)
    service.wait_for("service.ready")
    file.path.unlink()

    assert "cannot be read" in reload(service)["faults"][0]
    assert 200 == reads(site_of(service), OLD)


def test_what_needs_a_restart_is_named_and_not_in_force(
    start: Start, file: Settings, shop: Shop
) -> None:
    """L3: no reload makes an order due. The brake is released, and the log's level changes."""
    every = "[rules.expire_dp]\nevery = '1s'\nolder_than = "
    file.write({}, f"{every}'2h'\n[safety]\nmax_per_sweep = 1")
    service = start(**file.environment)
    service.wait_for("service.ready")
    due, spared = [shop.order(age=3 * HOUR) for _ in range(2)], shop.order(age=HOUR)
    service.wait_for("scan.braked")

    file.write({}, f"{every}'30m'\n[safety]\nmax_per_sweep = 2\n[log]\nlevel = 'warning'")
    service.process.send_signal(signal.SIGHUP)

    until(lambda: ["cancelled"] * 2 == [shop.status(order) for order in due])
    assert "pending_dp" == shop.status(spared)
    assert [] == service.logged("settings.reloaded")  # it is information, and the level is warning
    file.write({}, f"{every}'30m'\n[safety]\nmax_per_sweep = 2")
    told = reload(service)
    assert (["log.level"], ["rules.expire_dp.older_than"]) == (told["changed"], told["unapplied"])


def test_a_storm_of_signals_is_a_few_reloads(start: Start, file: Settings) -> None:
    """What the file holds at the end is in force, and the service does its work meanwhile."""
    service = start(**file.environment)
    service.wait_for("service.ready")
    for number in range(300):
        if number == 200:
            file.write({"ci": NEW})
        service.process.send_signal(signal.SIGHUP)
    site = site_of(service)
    until(lambda: reads(site, NEW) == 200)

    assert len(service.logged("settings.reloaded")) <= 300
    assert 200 == site.get("/readyz").status
    assert 0 == service.stop()


def test_a_reload_during_an_outage_asks_nothing_of_the_database(
    start: Start, file: Settings, connection: Connection, admin: psycopg.Connection
) -> None:
    service = start(**file.environment)
    service.wait_for("service.ready")
    database = connection.execute(text("select current_database()")).scalar_one()
    admin.execute(f"alter database {database} allow_connections false")
    connection.execute(
        text(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'sweeper' and datname = current_database()"
        )
    )
    service.wait_for("database.lost")
    file.write({"ci": NEW})
    told = reload(service)
    admin.execute(f"alter database {database} allow_connections true")

    assert (["web.tokens.ci"], []) == (told["changed"], told["unapplied"])
    service.wait_for("database.recovered")
    assert 200 == reads(site_of(service), NEW)


def test_a_reload_is_done_while_the_start_waits_for_the_database(
    start: Start, file: Settings
) -> None:
    nowhere = {"DATABASE_URL": "postgresql://sari@127.0.0.1:1/jastip"}
    service = start(**file.environment, **nowhere)
    site = site_of(service)
    file.write({"ci": NEW})
    reload(service)

    assert 200 == reads(site, NEW)
    assert 0 == service.stop()


def test_a_reload_that_is_asked_for_before_the_service_is_ready_is_done_later(
    start: Start, file: Settings
) -> None:
    """SIGHUP ends a process that does not expect it; this one does before it reads the settings."""
    service = start(**file.environment)
    status = Path(f"/proc/{service.process.pid}/status")
    until(
        lambda: (
            int(dict(line.split(":", 1) for line in status.read_text().splitlines())["SigCgt"], 16)
            & 1
        )
    )
    file.write({"ci": NEW})
    service.process.send_signal(signal.SIGHUP)

    service.wait_for("service.ready")
    service.wait_for("settings.reloaded")
    assert 200 == reads(site_of(service), NEW)


def test_a_credential_that_changes_in_its_folder_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a container mounts its secrets; systemd copies them when the service starts."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "web_token").write_text("k" * 32, "utf-8")
    before = settings.load(catalog.load("jobs"))
    (tmp_path / "web_token").write_text("m" * 32, "utf-8")

    fresh = before.again()
    taken = before.taking(fresh)

    assert (["web.token"], []) == before.changes(fresh)
    assert (["m" * 32], "credential") == (taken.secrets, taken.origins["web.token"])
