"""Notifications to systemd: ready, reloading, watchdog, stopping, a line for the status.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
import time
from datetime import timedelta


def notify(**fields: str) -> bool:
    """Send fields such as READY="1" to the service manager; return False if there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    state = "\n".join(f"{name}={value}" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), address)
    except OSError:  # the work must go on without a manager
        return False
    return True


def is_unit() -> bool:
    """Return whether systemd itself has started this process: `systemctl start`, or a timer.

    A shell in a unit, such as that of a desktop, hands INVOCATION_ID on; the process id is ours.
    """
    pid = os.environ.get("SYSTEMD_EXEC_PID", str(os.getpid()))
    return "INVOCATION_ID" in os.environ and pid == str(os.getpid())


def ready() -> bool:
    """Notify systemd that the service is ready."""
    return notify(READY="1")


def reloading() -> bool:
    """Notify systemd that the service loads its settings anew; `ready` ends that."""
    return notify(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1_000))


def starting(allowed: timedelta) -> bool:
    """Ask systemd to allow so much more time until the service is ready."""
    return notify(EXTEND_TIMEOUT_USEC=str(allowed // timedelta(microseconds=1)))


def watchdog() -> timedelta | None:
    """Return the longest interval between two notifications; None if there is no watchdog."""
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    interval = os.environ.get("WATCHDOG_USEC", "")
    if pid != str(os.getpid()) or not interval.isdigit():
        return None
    return timedelta(microseconds=int(interval))


def alive() -> bool:
    """Notify the watchdog that the service is alive."""
    return notify(WATCHDOG="1")


def stopping() -> bool:
    """Notify systemd that the service is stopping."""
    return notify(STOPPING="1")


def status(line: str) -> bool:
    """Set the line that `systemctl status` shows."""
    return notify(STATUS=line)
