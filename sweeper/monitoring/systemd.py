"""systemd's notification protocol: ready, alive, stopping, and a line for `systemctl status`.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from datetime import timedelta


def tell(**fields: str) -> bool:
    """Send fields such as READY="1" to the service manager; False where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    state = "\n".join(f"{name}={value}" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), address)
    except OSError:  # a manager that is gone is no reason to stop the work
        return False
    return True


def ready() -> bool:
    """Say that the service does its work."""
    return tell(READY="1")


def starting(allowed: timedelta) -> bool:
    """Ask for more time to become ready in."""
    return tell(EXTEND_TIMEOUT_USEC=str(allowed // timedelta(microseconds=1)))


def watchdog() -> timedelta | None:
    """Return how often the watchdog must be fed at the least; None where nobody watches us."""
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    interval = os.environ.get("WATCHDOG_USEC", "")
    if pid != str(os.getpid()) or not interval.isdigit():
        return None
    return timedelta(microseconds=int(interval))


def alive() -> bool:
    """Feed the watchdog."""
    return tell(WATCHDOG="1")


def stopping() -> bool:
    """Say that the service is on its way out."""
    return tell(STOPPING="1")


def status(line: str) -> bool:
    """Say in one line how things are."""
    return tell(STATUS=line)
