"""A Debian container with a real systemd, on this host's network."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

ROOT = Path(__file__).parents[2]
RELEASE, PYTHON = "bookworm", "3.11"
PACKAGES = "systemd,systemd-sysv,dbus,make,python3,python3-venv"
NEEDED = ("debootstrap", "systemd-nspawn", "nsenter", "unshare")

# Kept between runs, because making it takes a minute; changes of a run go to an overlay.
BASE = Path(f"/var/tmp/sweeper-test-{RELEASE}")  # noqa: S108 -- a cache that only root uses
_SECONDS = 120


def lacking() -> str:
    """Return why this host cannot run a container, or an empty text if it can."""
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if os.geteuid() != 0:
        missing.insert(0, "root")
    elif not missing and subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        missing.append("the right to make namespaces")
    return f"needs {', '.join(missing)}" if missing else ""


@dataclass(frozen=True, slots=True)
class Container:
    """A running container; *leader* is the id of its first process on this host."""

    leader: int

    def run(self, command: str, *, check: bool = True, seconds: float = _SECONDS) -> str:
        """Run a command in a root shell; return its output, and fail if it fails."""
        ended = self.attempt(command, seconds)
        assert not check or ended.returncode == 0, f"{command}\n{ended.stdout}"
        return ended.stdout

    def attempt(
        self, command: str, seconds: float = _SECONDS
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in a root shell; return the process with stderr in its stdout."""
        inside = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root")
        shell = ("env", "-i", "-C", "/", "HOME=/root", f"PATH={_PATH}", "sh", "-c", command)
        return subprocess.run(
            ["nsenter", "--target", str(self.leader), *inside, *shell],
            check=False,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def booted(wheels: Path) -> Iterator[Container]:
    """Boot a container with the repository in /src and *wheels* in /wheels; stop it afterwards."""
    command = ["systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--console=pipe"]
    command += ["--quiet", f"--directory={_base()}", "--volatile=overlay"]
    command += [f"--bind-ro={ROOT}:/src", f"--bind-ro={wheels}:/wheels"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as nspawn:
        try:
            container = Container(_leader(nspawn))
            container.run("until systemctl is-active -q multi-user.target; do sleep 0.2; done")
            yield container
        finally:
            nspawn.terminate()  # powers it off
            try:
                nspawn.wait(30)
            except subprocess.TimeoutExpired:
                nspawn.kill()


def wheelhouse(folder: Path) -> Path:
    """Fill *folder* with the wheels that the container needs to build and install the sweeper."""
    machine = platform.machine()
    command = [sys.executable, "-m", "pip", "-qq", "download", "--require-hashes"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--platform=manylinux{tag}_{machine}" for tag in ("2014", "_2_28")]
    for pins in ("requirements.txt", "requirements-build.txt", "requirements-release.txt"):
        command += ["-r", str(ROOT / pins)]
    subprocess.run([*command, "-d", folder], check=True)
    return folder


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _base() -> Path:
    if not BASE.exists():
        with tempfile.TemporaryDirectory(prefix=f"{BASE.name}-", dir=BASE.parent) as folder:
            made = Path(folder) / "root"
            subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, made],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            made.rename(BASE)
    return BASE


def _leader(nspawn: "subprocess.Popen[bytes]") -> int:
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    for _ in range(200):
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        Event().wait(0.1)
    message = "the container did not boot"
    raise AssertionError(message)
