"""A headless Chromium, controlled through a pipe with the DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_SPEC = find_spec("axe_core_python")
AXE = Path(str(_SPEC and _SPEC.origin)).with_name("axe.min.js")

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root, and open only the sweeper's page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Page:
    """One tab of the browser."""

    def __init__(self, commands: BinaryIO, messages: BinaryIO) -> None:
        self._commands = commands
        self._messages = messages
        self._numbers = count(1)
        self._session: str | None = None
        self.problems: list[str] = []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command to the browser, and return its result."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._commands.write(json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def look(self, *, width: int, height: int, dark: bool = False) -> None:
        """Set the size of the screen in pixels, and its colour scheme."""
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
        """Open a URL, and wait until it is loaded."""
        self.command("Page.navigate", url=url)
        self.until(f"location.href == {json.dumps(url)}")

    def ask(self, script: str) -> Any:
        """Return the value of a script; a promise is awaited."""
        evaluated = self.command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in evaluated, evaluated
        return evaluated["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until the page is loaded and a script is true on it."""
        for _ in range(400):
            try:
                if self.ask(f"document.readyState == 'complete' && Boolean({script})"):
                    return
            except AssertionError:  # while the browser navigates, scripts cannot run
                pass
            Event().wait(0.05)
        pytest.fail(f"within twenty seconds this did not become true: {script}: {self.text()}")

    def text(self) -> str:
        """Return the visible text of the page."""
        return str(self.ask("document.body.innerText"))

    def fill(self, selector: str, value: str) -> None:
        """Set the value of a form field."""
        self.ask(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(value)}")

    def press(self, label: str) -> None:
        """Click the first button, link or summary whose text begins with *label*."""
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

    def tab_through(self, count: int) -> list[str]:
        """Press the tab key *count* times; return what has the focus each time, if it is marked."""
        found = list[str]()
        for _ in range(count):
            for kind in ("keyDown", "keyUp"):
                self.command("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab")
            found.append(
                self.ask(
                    "(() => { const one = document.activeElement, style = getComputedStyle(one);"
                    " return parseInt(style.outlineWidth) ? one.outerHTML.slice(0, 200) : '' })()"
                )
            )
        return found

    def barriers(self) -> list[str]:
        """Return what axe finds on the page that keeps some people from reading or using it.

        https://github.com/dequelabs/axe-core
        """
        if not self.ask("'axe' in window"):
            self.ask(AXE.read_text("utf-8") + "; true")
        options = json.dumps({"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
        found: list[str] = self.ask(
            f"axe.run(document, {options}).then(result => result.violations"
            ".flatMap(each => each.nodes.map(node => `${each.id}: ${node.html}`)))"
        )
        return found

    def picture(self) -> bytes:
        """Return a screenshot of the whole page as PNG."""
        captured = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(captured["data"])

    def _read(self) -> dict[str, Any]:
        raw = bytearray()
        while (byte := self._messages.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            raw += byte
        message: dict[str, Any] = json.loads(raw)
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown" or (
            parameters.get("entry", {}).get("level") in {"warning", "error"}
        ):
            self.problems.append(json.dumps(parameters))
        return message


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Start a browser with a new profile in *folder*; yield a tab, or skip without Chromium."""
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
                os.fdopen(ours_write, "wb", buffering=0) as commands,
                os.fdopen(ours_read, "rb") as messages,
            ):
                yield Page(commands, messages)
        finally:
            process.terminate()
