"""A real Chromium without a window, spoken to through a pipe in its own protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root, and open nothing but our own page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Page:
    """One tab."""

    def __init__(self, told: BinaryIO, heard: BinaryIO) -> None:
        self._told = told
        self._heard = heard
        self._numbers = count(1)
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have the browser do something, and return its answer."""
        number = next(self._numbers)
        whole = {"id": number, "method": method, "params": parameters}
        if self._session:
            whole["sessionId"] = self._session
        self._told.write(json.dumps(whole).encode() + b"\0")
        while True:
            message = self._hear()
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def look(self, *, width: int, height: int, dark: bool = False) -> None:
        """Be as wide as a screen, and in its light."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Go to an address, and wait until it is there."""
        self.command("Page.navigate", url=url)
        self.until(f"location.href == {json.dumps(url)}")

    def ask(self, script: str) -> Any:
        """Return what a script evaluates to; it may return a promise."""
        told = self.command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, script: str) -> None:
        """Return once a page is whole, and a script holds on it."""
        for _ in range(400):
            try:
                if self.ask(f"document.readyState == 'complete' && Boolean({script})"):
                    return
            except AssertionError:  # between two pages there is none to ask
                pass
            Event().wait(0.05)
        pytest.fail(f"within twenty seconds it did not hold that {script}: {self.text()}")

    def text(self) -> str:
        """Return what a person reads."""
        return str(self.ask("document.body.innerText"))

    def fill(self, selector: str, value: str) -> None:
        """Write into a field."""
        self.ask(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(value)}")

    def press(self, label: str) -> None:
        """Press the first button, link or summary that is called so, as a person does."""
        spot = self.ask(
            "(() => { const found = [...document.querySelectorAll('button, a, summary')]"
            f".find(each => each.innerText.trim().startsWith({json.dumps(label)}));"
            " found.scrollIntoView({block: 'center'}); const box = found.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.command(
                "Input.dispatchMouseEvent",
                type=kind,
                x=spot[0],
                y=spot[1],
                button="left",
                clickCount=1,
            )

    def picture(self) -> bytes:
        """Return the whole page as a PNG."""
        told = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(told["data"])

    def _hear(self) -> dict[str, Any]:
        raw = bytearray()
        while (byte := self._heard.read(1)) != b"\0":
            assert byte, "Chromium has gone"
            raw += byte
        message: dict[str, Any] = json.loads(raw)
        said = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown" or (
            said.get("entry", {}).get("level") in {"warning", "error"}
        ):
            self.complaints.append(json.dumps(said))
        return message


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Lend a tab of a browser that remembers nothing; skips where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM HERE: the page is NOT tested; apt-get install chromium")
    (ours_read, theirs_write), (theirs_read, ours_write) = os.pipe(), os.pipe()
    # Chromium reads its commands from descriptor 3 and answers on 4.
    script = f'exec "$@" 3<&{theirs_read} 4>&{theirs_write}'
    command = ["bash", "-c", script, "bash", CHROMIUM, *_FLAGS, f"--user-data-dir={folder}"]
    with subprocess.Popen(
        command,
        pass_fds=(theirs_read, theirs_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(theirs_read)
        os.close(theirs_write)
        try:
            with (
                os.fdopen(ours_write, "wb", buffering=0) as told,
                os.fdopen(ours_read, "rb") as heard,
            ):
                yield Page(told, heard)
        finally:
            process.terminate()
