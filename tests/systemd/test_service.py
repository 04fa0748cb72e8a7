"""The service under a real systemd: installing, starting, watching, upgrading and removing it.

`make test-systemd` runs it; `make test` does not. It needs root and a container (debootstrap,
systemd-nspawn), and is skipped elsewhere. The database is outside the container, behind a proxy
that can interrupt the connection.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from packaging.utils import canonicalize_name
from sqlalchemy import Connection, make_url, text

from jobs.demo.sample_orders import INT_MAX
from jobs.demo.shop import Shop
from tests.support import log_schema
from tests.support.container import ROOT, Container, booted, lacking, wheelhouse
from tests.support.network import NetworkProxy, network_proxy
from tests.support.verbs import HOUR, Connect, wait_for_a_blocked_session

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

PLATFORM = ROOT / "jobs" / "demo" / "platform.sql"
DROP_IN = "/run/systemd/system/sweeper.service.d/test.conf"
INSTALL = "cd /src && PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels make install"
PASSWORD = secrets.token_hex(8)

MODES = {
    "/etc/sweeper": "755",
    "/etc/sweeper/sweeper.toml": "644",
    "/etc/sweeper/credentials": "700",
    "/etc/sweeper/credentials/database_url": "600",
    "/etc/systemd/system/sweeper.service": "644",
    "/etc/systemd/system/sweeper-sweep@.service": "644",
    "/usr/local/share/bash-completion/completions/sweeper": "644",
    "/usr/local/share/zsh/site-functions/_sweeper": "644",
    "/etc/fish/completions/sweeper.fish": "644",
    "/usr/local/share/man/man1/sweeper.1": "644",
}

# What an earlier installation left behind, whose environment stood in /opt/sweeper itself.
SITE, LEFTOVER = "/opt/sweeper/lib/python3.11/site-packages", "no_longer_needed.py"


# A machine, a database and the installed service.


@pytest.fixture(scope="module")
def network(server_url: str) -> Iterator[NetworkProxy]:
    with network_proxy(server_url) as laid:
        yield laid


@pytest.fixture(scope="module")
def platform(admin: psycopg.Connection, server_url: str) -> Iterator[str]:
    """Create the platform's database, and a login for the sweeper without any grant."""
    admin.execute("create database jastip")
    admin.execute("create role sweeper login")
    yield make_url(server_url).set(database="jastip").render_as_string(hide_password=False)
    admin.execute("drop database jastip with (force)")
    admin.execute("drop role sweeper")


@pytest.fixture
def database_url(platform: str) -> str:
    """Make the fixtures of all tests use that database."""
    return platform


@pytest.fixture(scope="module")
def machine(
    network: NetworkProxy, platform: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """Boot a machine, and install the service as docs/how-to/install.md says."""
    with psycopg.connect(platform, autocommit=True) as connection:
        connection.execute(PLATFORM.read_bytes())
    with booted(wheelhouse(tmp_path_factory.mktemp("wheels"))) as machine:
        machine.run(f"mkdir -p {SITE}; touch {SITE}/{LEFTOVER}")
        machine.run(INSTALL)
        for name, user in (("database_url", "sweeper"), ("database_direct_url", "postgres")):
            url = make_url(network.url(platform, PASSWORD)).set(username=user)
            value = url.render_as_string(hide_password=False)
            machine.run(f"umask 077; echo '{value}' > /etc/sweeper/credentials/{name}")
        settings = 's/^# taken_at = .*/taken_at = "checkout"/; s/^port = .*/port = 0/'
        machine.run(f"sed -i '{settings}' /etc/sweeper/sweeper.toml")
        machine.run("sweeper migrate --install-pgmq --with-indexes")
        with psycopg.connect(platform, autocommit=True) as connection:
            connection.execute(machine.run("sweeper grants sweeper"))
        machine.run("systemctl enable --now sweeper")
        yield machine


class Unit:
    """The service, as systemctl and journalctl show it."""

    def __init__(self, machine: Container) -> None:
        self.machine = machine
        self._since = time.time()

    def __call__(self, verb: str, *options: str) -> str:
        """Run systemctl."""
        return self.machine.run(f"systemctl {verb} {' '.join(options)} sweeper")

    def show(self, name: str) -> str:
        """Return one property."""
        return self("show", "--value", "-p", name).strip()

    def override(self, *lines: str) -> None:
        """Override settings as `systemctl edit` does, until the next test."""
        content = "\n".join(["[Service]", *lines])
        self.machine.run(f"mkdir -p {Path(DROP_IN).parent}; echo '{content}' > {DROP_IN}")
        self("daemon-reload; systemctl restart")

    def journal(self, unit: str = "sweeper") -> str:
        """Return the unit's journal since the beginning of the test."""
        since = f"--since=@{self._since:.6f}"
        return self.machine.run(f"journalctl -q --no-pager -o cat {since} -u {unit}")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the logged lines of one event; every line must be valid by the schema."""
        log = [line for line in self.journal().splitlines() if line.startswith("{")]
        return [line for line in log_schema.lines("\n".join([*log, ""])) if line["event"] == event]

    def wait_for(self, holds: Callable[[], object], within: float = 60) -> None:
        """Return once *holds* is true; fail after *within* seconds."""
        deadline = time.monotonic() + within
        while not holds():
            assert time.monotonic() < deadline, self("status", "-l", "--no-pager; journalctl -u")
            time.sleep(0.3)

    def is_ready(self) -> bool:
        """Return whether /readyz reports that the service is ready."""
        (address,) = {line["address"] for line in self.logged("web.opened")[-1:]}
        ask = f"import urllib.request as r; r.urlopen('http://{address}/readyz', timeout=5)"
        return self.machine.attempt(f'python3 -c "{ask}"').returncode == 0


@pytest.fixture
def unit(machine: Container, network: NetworkProxy) -> Unit:
    """Return the service, restarted and ready, with the shipped settings."""
    network.restore()
    unit = Unit(machine)
    machine.run(f"rm -f {DROP_IN}; systemctl daemon-reload")
    unit("reset-failed")
    unit("restart")
    return unit


@pytest.fixture
def shop(connection: Connection) -> Shop:
    """Return the platform's shop, with new ids for each test."""
    return Shop(connection, datetime.now(UTC), seed=time.time_ns() % 1_000_000)


# Units.


def test_systemd_analyze_accepts_the_units(machine: Container) -> None:
    assert "" == machine.run(
        "systemd-analyze verify sweeper.service sweeper-sweep@expire_dp.service"
    )


@pytest.mark.parametrize("name", ["sweeper.service", "sweeper-sweep@expire_dp.service"])
def test_the_units_have_a_low_exposure_level(name: str, machine: Container) -> None:
    report = machine.run(f"systemd-analyze security --no-pager {name}")

    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert float(exposure) <= 2.0


# The service.


def test_the_unit_is_active_only_once_the_service_is_ready(unit: Unit, connect: Connect) -> None:
    """L9: systemd reports the unit as active only after the first scan and read."""
    unit("stop")
    other = connect()
    other.execute(text("lock table sweeper.sweep in access exclusive mode"))

    unit("start", "--no-block")
    unit.wait_for(lambda: unit.logged("service.started")[1:])
    time.sleep(2)
    before = unit.show("ActiveState"), len(unit.logged("service.ready"))
    other.rollback()

    unit.wait_for(lambda: unit.show("ActiveState") == "active")
    assert ("activating", 1) == before
    assert 2 == len(unit.logged("service.ready"))
    assert unit.is_ready()


def test_sigusr1_causes_a_sweep_at_once(unit: Unit, shop: Shop) -> None:
    order = shop.order(age=HOUR)

    unit("kill", "-s USR1")

    unit.wait_for(lambda: shop.status(order) == "cancelled")


TOML = "/etc/sweeper/sweeper.toml"


def reloaded(unit: Unit, event: str = "settings.reloaded") -> dict[str, Any]:
    """Reload the service, and return the line that tells what came of it."""
    before = len(unit.logged(event))
    unit("reload")
    unit.wait_for(lambda: len(unit.logged(event)) > before)
    assert "active" == unit.show("ActiveState")
    return unit.logged(event)[-1]


def status_from_elsewhere(unit: Unit, token: str) -> str:
    """Return the status of reading from another machine with *token*."""
    address = unit.logged("web.opened")[-1]["address"]
    ask = f"""
import http.client
connection = http.client.HTTPConnection("{address}")
headers = {{"host": "sweeper.example", "authorization": "Bearer {token}"}}
connection.request("GET", "/api/v1/pauses", headers=headers)
print(connection.getresponse().status)
"""
    return unit.machine.run(f"python3 -c '{ask}'").strip()


def test_a_token_is_changed_by_a_reload_without_a_restart(unit: Unit) -> None:
    """L9: the process is the same, and the sandbox lets it read its settings again."""
    before = unit.show("MainPID")
    made = json.loads(unit.machine.run("sweeper token new ci --scope act --json"))
    assert "401" == status_from_elsewhere(unit, made["token"])

    unit.machine.run(f"sed -i '/^.web.tokens./a {made['line']}' {TOML}")
    assert ["web.tokens.ci"] == reloaded(unit)["changed"]
    assert "200" == status_from_elsewhere(unit, made["token"])

    unit.machine.run(f"sed -i 's/^ci = .*/ci = 7/' {TOML}")
    assert "web.tokens.ci" in reloaded(unit, "settings.refused")["faults"][0]
    assert "200" == status_from_elsewhere(unit, made["token"])

    unit.machine.run(f"sed -i '/^ci = /d' {TOML}")
    assert ["web.tokens.ci"] == reloaded(unit)["changed"]
    assert "401" == status_from_elsewhere(unit, made["token"])
    assert (before, "0") == (unit.show("MainPID"), unit.show("NRestarts"))


def test_a_credential_that_is_changed_needs_a_restart(unit: Unit) -> None:
    """Contract: systemd copies credentials at the start; a reload finds those copies."""
    token = secrets.token_urlsafe(32)
    unit.machine.run(f"umask 077; echo {token} > /etc/sweeper/credentials/web_token")

    changed = reloaded(unit)["changed"]
    refused = status_from_elsewhere(unit, token)
    unit("restart")
    accepted = status_from_elsewhere(unit, token)
    unit.machine.run("rm /etc/sweeper/credentials/web_token")

    assert ([], "401", "200") == (changed, refused, accepted)


def test_the_status_line_shows_the_counts(unit: Unit) -> None:
    unit.override("Environment=SWEEPER_SERVICE__HEARTBEAT_EVERY=1s")

    unit.wait_for(lambda: "0 queued, 0 dead" in unit.show("StatusText"))

    assert re.search(r'Status: "UP: \d+ processed, 0 failed; 0 queued, 0 dead"', unit("status"))


def test_a_stopped_process_is_killed_and_restarted_by_the_watchdog(unit: Unit) -> None:
    """L9: the service counts as alive only while it works."""
    before = unit.show("MainPID")

    unit("kill", "-s STOP")

    unit.wait_for(lambda: unit.show("NRestarts") == "1" and unit.show("ActiveState") == "active")
    assert before != unit.show("MainPID")
    assert "Failed with result 'watchdog'" in unit.journal()


def test_a_hanging_thread_causes_a_restart_by_the_watchdog(
    unit: Unit, network: NetworkProxy
) -> None:
    """L9: when the database hangs, the service is not ready, then restarted, then works again."""
    unit.override(
        "WatchdogSec=6s",
        "Environment=SWEEPER_DATABASE__STATEMENT_TIMEOUT=1s SWEEPER_DATABASE__CONNECT_TIMEOUT=1s",
    )

    network.freeze()
    unit.wait_for(lambda: unit.logged("readiness.lost"))
    unit.wait_for(lambda: "Failed with result 'watchdog'" in unit.journal())
    network.restore()

    assert unit.logged("loop.stalled")
    unit.wait_for(lambda: unit.show("ActiveState") == "active")
    assert unit.is_ready()


def test_a_database_outage_causes_no_restart(unit: Unit, network: NetworkProxy, shop: Shop) -> None:
    """L9: during an outage of a minute the service is not ready, and recovers by itself."""
    before = unit.show("MainPID")
    order = shop.order(age=HOUR)

    network.disconnect()
    unit.wait_for(lambda: unit.logged("readiness.lost"))
    time.sleep(60)
    assert not unit.is_ready()
    assert "DOWN" in unit.show("StatusText")
    network.restore()

    unit.wait_for(unit.is_ready)
    unit("kill", "-s USR1")
    unit.wait_for(lambda: shop.status(order) == "cancelled")
    assert (before, "0") == (unit.show("MainPID"), unit.show("NRestarts"))


def test_a_start_waits_until_the_database_is_reachable(unit: Unit, network: NetworkProxy) -> None:
    unit("stop")
    network.disconnect()

    unit("start", "--no-block")
    unit.wait_for(lambda: "waits for the database" in unit.show("StatusText"))
    assert ("activating", "0") == (unit.show("ActiveState"), unit.show("NRestarts"))
    network.restore()

    unit.wait_for(lambda: unit.show("ActiveState") == "active")


def test_a_settings_error_does_not_cause_restarts(unit: Unit) -> None:
    unit.machine.run("touch /etc/sweeper/credentials/databse_url")

    failed = unit.machine.attempt("systemctl restart sweeper").returncode
    time.sleep(7)  # longer than RestartSec
    state = unit.show("ActiveState"), unit.show("ExecMainStatus"), unit.show("NRestarts")
    unit.machine.run("rm /etc/sweeper/credentials/databse_url")

    assert (1, ("failed", "78", "0")) == (failed, state)
    assert "credential databse_url is not a secret setting" in unit.journal()


def test_a_job_in_flight_is_finished_before_the_stop(
    unit: Unit, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """L5: a deploy costs no attempt, and the watchdog does not interrupt it."""
    unit.override("WatchdogSec=3s", "Environment=SWEEPER_DATABASE__LOCK_TIMEOUT=20s")
    product = shop.product(stock=0)
    order = shop.order(age=HOUR, items=[(product, 1)])
    other = connect()
    other.execute(text('select * from "Product" where id = :id for update'), {"id": product})
    unit("kill", "-s USR1")
    wait_for_a_blocked_session(connection)

    unit("stop", "--no-block")
    time.sleep(5)
    before = unit.show("ActiveState"), shop.status(order)
    other.rollback()

    unit.wait_for(lambda: unit.show("ActiveState") == "inactive")
    assert ("deactivating", "pending_dp") == before
    assert ("success", "cancelled", 1) == (
        unit.show("Result"),
        shop.status(order),
        shop.stock(product),
    )
    assert unit.logged("service.stopped")[-1]["clean"]


def test_the_sweep_unit_sweeps_one_rule(unit: Unit, shop: Shop, connection: Connection) -> None:
    unit("stop")
    order = shop.order(age=HOUR)

    unit.machine.run("systemctl start sweeper-sweep@expire_dp")

    assert "cancelled" == shop.status(order)
    ledger = text("select rule, actor, reason from sweeper.sweep order by at desc limit 1")
    expected = ("expire_dp", "sweeper", "systemctl start sweeper-sweep@expire_dp.service")
    assert expected == tuple(connection.execute(ledger).one())


def test_the_sweep_unit_fails_for_an_unknown_rule(unit: Unit) -> None:
    failed = unit.machine.attempt("systemctl start sweeper-sweep@nonsense")

    assert 1 == failed.returncode
    assert "there is no rule 'nonsense'" in unit.journal("sweeper-sweep@nonsense")


def test_an_operator_can_sweep_release_the_brake_and_retry_a_dead_letter(
    unit: Unit, shop: Shop, connection: Connection
) -> None:
    """The steps are those of docs/how-to, from the dry run to the retry of a dead letter."""
    unit("stop")
    shell = unit.machine.run
    product = shop.product(stock=INT_MAX)
    first = shop.order(age=HOUR)
    assert "error" not in shell("sweeper doctor")
    assert first in shell("sweeper sweep --dry-run")
    shell("sweeper sweep --dry-run --json > /tmp/plan.json")
    rest = [shop.order(age=HOUR, items=[(product, 1)]), shop.order(age=HOUR)]

    shell("sweeper sweep --plan /tmp/plan.json")
    assert [shop.status(order) for order in (first, *rest)] == ["cancelled", *["pending_dp"] * 2]

    braked = unit.machine.attempt("SWEEPER_SAFETY__MAX_PER_SWEEP=1 sweeper sweep")
    assert (braked.returncode, "stopped: too many orders due" in braked.stdout) == (4, True)
    without_retries = "SWEEPER_RETRY__MAX_RETRIES=0 sweeper sweep --max 2 --reason checked"
    assert unit.machine.attempt(without_retries).returncode == 3
    assert [shop.status(order) for order in rest] == ["pending_dp", "cancelled"]

    (dead_letter,) = json.loads(shell("sweeper dead list --json 2>/dev/null"))
    assert (dead_letter["key"], dead_letter["reason"]) == (rest[0], "exhausted")
    correction = text('update "Product" set stock = 0 where id = :id')
    connection.execute(correction, {"id": product})
    shell(f"sweeper dead retry {dead_letter['msg_id']}")
    shell("sweeper drain")
    assert (shop.status(rest[0]), shop.stock(product)) == ("cancelled", 1)
    assert "no job lost or done twice" in shell("sweeper audit")


def test_no_secret_is_visible(unit: Unit) -> None:
    """L11: unit, journal, environment, arguments and page contain no secret."""
    pid = unit.show("MainPID")
    (web,) = unit.logged("web.opened")

    seen = unit.machine.run(
        f"""
        systemctl show sweeper; systemctl status -l sweeper; systemctl cat sweeper
        journalctl --no-pager -o json
        cat /proc/{pid}/environ /proc/{pid}/cmdline
        sweeper config; sweeper doctor; sweeper status --json
        python3 -c "import urllib.request as r
for page in ('', 'metrics', 'readyz'):
    print(r.urlopen('http://{web["address"]}/' + page).read().decode())"
        """
    )

    assert "sweeper_ready 1.0" in seen
    assert PASSWORD not in seen
    assert PASSWORD in unit.machine.run("cat /run/credentials/sweeper.service/*")


def test_only_root_can_read_the_secrets(unit: Unit) -> None:
    other = "setpriv --reuid=65534 --clear-groups"

    for place in ("/etc/sweeper/credentials", "/run/credentials/sweeper.service"):
        assert unit.machine.attempt(f"{other} ls {place}").returncode
    assert "which only root may read" in unit.machine.run(f"{other} sweeper status", check=False)


def test_the_service_uses_little_memory(unit: Unit) -> None:
    """At most 120 MB are resident at idle, with the page enabled."""
    unit.is_ready()
    (resident,) = re.findall(
        r"VmRSS:\s+(\d+) kB", unit.machine.run(f"cat /proc/{unit.show('MainPID')}/status")
    )

    assert int(resident) < 120_000


def test_an_upgrade_keeps_the_configuration_and_restarts(unit: Unit) -> None:
    etc = "cd /etc/sweeper && find . -type f -exec md5sum {} + | sort"
    files, before = unit.machine.run(etc), unit.show("MainPID")

    unit.machine.run(INSTALL)

    assert files == unit.machine.run(etc)
    assert before != unit.show("MainPID")
    assert unit.is_ready()


def test_a_package_with_another_hash_is_not_installed(unit: Unit) -> None:
    """The wheel still works, and still has its name; the running version stays as it is."""
    unit.machine.run("cp -r /wheels /tmp/altered; echo | tee -a /tmp/altered/structlog-*.whl")
    installed = "readlink /opt/sweeper; ls /opt/sweeper.d"
    before, process = unit.machine.run(installed, check=False), unit.show("MainPID")

    refused = unit.machine.attempt(INSTALL.replace("/wheels", "/tmp/altered"))  # noqa: S108

    assert refused.returncode
    assert "DO NOT MATCH THE HASHES" in refused.stdout
    assert (before, process) == (unit.machine.run(installed), unit.show("MainPID"))


def test_the_service_has_the_pinned_packages_and_no_others(unit: Unit) -> None:
    pins = (ROOT / "requirements.txt").read_text("utf-8")
    names = re.findall(r"^([\w.-]+)==(?!.*win32)", pins, re.MULTILINE)
    listed = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"

    installed = unit.machine.run(f'/opt/sweeper/bin/python -c "{listed}"').split()

    assert sorted([*names, "jastip-sweeper"]) == sorted(map(canonicalize_name, installed))
    assert unit.machine.attempt(f"ls {SITE}/{LEFTOVER}").returncode


@pytest.mark.parametrize("umask", ["002", "077"])
def test_what_is_installed_is_root_s_whatever_its_umask(unit: Unit, umask: str) -> None:
    """Nobody else can write the program, the settings or the units; the service can read them."""
    unit.machine.run(f"umask {umask}; {INSTALL}")
    places = "/opt/sweeper/ /opt/sweeper.d /etc/sweeper /etc/systemd/system /usr/local/bin/sweeper"
    only_root_writes = r"! -user root -o ! -group root -o ! -type l -perm /022"
    everybody_reads = r"-type d ! -perm -005 -o ! -type d ! -perm -004"

    assert "" == unit.machine.run(f"find {places} {only_root_writes}")
    assert "" == unit.machine.run(f"find /opt/sweeper.d {everybody_reads}")
    modes = unit.machine.run(f"stat -c '%n %a' {' '.join(MODES)}").split()
    assert MODES == dict(zip(modes[::2], modes[1::2], strict=True))
    assert unit.is_ready()


def test_the_service_s_user_can_write_nothing_but_its_home(unit: Unit) -> None:
    uid = unit.machine.run(f"stat -c %u /proc/{unit.show('MainPID')}").strip()
    as_the_service = f"setpriv --reuid={uid} --regid={uid} --clear-groups"
    places = "/opt /etc /usr /boot /root /var/lib"

    assert "0" != uid
    writable = f"{as_the_service} find {places} ! -type l -writable 2>/dev/null"
    assert "" == unit.machine.run(writable, check=False)
    assert f"700 {uid}" == unit.machine.run("stat -c '%a %u' /var/lib/private/sweeper").strip()
    given = "find /run/credentials/sweeper.service -type f"
    assert unit.machine.run(given)
    assert "" == unit.machine.run(f"{given} -perm /337")


def test_a_rollback_brings_the_version_before_back(unit: Unit) -> None:
    unit.machine.run(INSTALL)
    link = "readlink /opt/sweeper"
    before, process = unit.machine.run(link), unit.show("MainPID")
    unit.machine.run(INSTALL)
    after = unit.machine.run(link)

    unit.machine.run("cd /src && make rollback")

    assert before == unit.machine.run(link) != after
    assert process != unit.show("MainPID")
    assert unit.is_ready()
    environments = unit.machine.run("find /opt/sweeper.d -mindepth 1 -maxdepth 1 -type d")
    assert sorted([before, after]) == sorted(environments.splitlines(keepends=True))
    unit.machine.run("cd /src && make rollback")
    assert after == unit.machine.run(link)


def test_uninstalling_keeps_the_configuration(unit: Unit) -> None:
    """This test must be the last one, because it removes the service."""
    etc = "find /etc/sweeper"
    files = unit.machine.run(etc)

    unit.machine.run("cd /src && make uninstall")

    assert files == unit.machine.run(etc)
    assert "not-found" == unit.show("LoadState")
    found = unit.machine.run("find /opt /usr/local /etc/systemd /etc/fish -name '*sweeper*'")
    assert "" == found
