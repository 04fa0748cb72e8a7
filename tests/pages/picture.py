"""The picture of the demo: `sweeper demo` recorded on a terminal, as an SVG that turns its pages.

`make picture` writes docs/demo.svg. The window is dark on any page, its letters are those that the
viewer has, and who has asked for less motion sees the first chapters.
"""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.paths import ROOT

PICTURE = ROOT / "docs" / "demo.svg"
COLUMNS, ROWS, SECONDS = 100, 38, 9

_CHAPTER = re.compile(r"(?m)^(?=(?:\x1b\[[\d;]*m)*[^\s─\x1b][^\n]*?(?:\x1b\[[\d;]*m| )+─{5,})")
_ANSI = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")
_UP, _ACROSS = 24.4, 12.2  # of one character, as rich draws them
_PAD, _BAR = 16, 34

_SVG = """\
<svg viewBox="0 0 {w} {h}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="sweeper demo">
<style>
.{{unique_id}}-matrix {{{{
  font: 20px ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; white-space: pre
}}}}
{{styles}}
@keyframes turn {{{{ {turns} }}}}
.turn {{{{ animation: turn {seconds}s step-end infinite }}}}
@media (prefers-reduced-motion: reduce) {{{{ .turn {{{{ animation: none }}}} }}}}
</style>
<defs><clipPath id="window"><rect width="{inner_w}" height="{inner_h}"/></clipPath></defs>
<rect width="{w}" height="{h}" rx="10" fill="#1b1f24"/>
<circle cx="22" cy="18" r="6" fill="#ff5f57"/><circle cx="42" cy="18" r="6" fill="#febc2e"/>\
<circle cx="62" cy="18" r="6" fill="#28c840"/>
<g transform="translate({pad}, {bar})" clip-path="url(#window)"><g class="turn">
{{backgrounds}}
<g class="{{unique_id}}-matrix">
{{matrix}}
</g></g></g>
</svg>
"""


def main() -> None:
    """Record the demo, and write its picture."""
    PICTURE.write_text(drawn(frames(recorded())), "utf-8")


def recorded() -> str:
    """Run the demo on a terminal of its own; return all that it printed, colours included."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "PATH": path}
    variables.pop("NO_COLOR", None)
    with subprocess.Popen(
        ["sweeper", "demo"], stdout=its, stdin=its, stderr=its, env=variables
    ) as demo:
        os.close(its)
        printed = b""
        try:
            while read := os.read(ours, 65536):
                printed += read
        except OSError:  # the terminal's other end is closed
            pass
    os.close(ours)
    if demo.returncode:
        message = f"the demo failed: {printed[-500:]!r}"
        raise RuntimeError(message)
    return printed.decode().replace("\r\n", "\n")


def frames(text: str) -> list[list[str]]:
    """Return the lines of each frame: the chapters that the window holds together, or part of one.

    The last chapter is left out: it says what to try next, to who sits before the terminal.
    """
    found: list[list[str]] = []
    for chapter in _CHAPTER.split(text)[1:-1]:
        lines = [line.rstrip() for line in chapter.rstrip().split("\n")]
        if found and len(found[-1]) + 1 + len(lines) <= ROWS:
            found[-1] += ["", *lines]
        else:
            found.append(lines if len(lines) <= ROWS else [*lines[: ROWS - 1], "..."])
    return [lines + [""] * (ROWS - len(lines)) for lines in found]


def drawn(shown: list[list[str]]) -> str:
    """Return an SVG that shows one frame after the other, for some seconds each."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    for line in (line for frame in shown for line in frame):
        console.print(Text.from_ansi(line), no_wrap=True, overflow="crop")
    starts = ((100 * number / len(shown), number * ROWS * _UP) for number in range(len(shown)))
    turns = " ".join(f"{at:.3f}% {{{{ transform: translateY(-{up:.1f}px) }}}}" for at, up in starts)
    inner_w, inner_h = COLUMNS * _ACROSS, ROWS * _UP
    template = _SVG.format(
        w=round(inner_w + 2 * _PAD),
        h=round(inner_h + _BAR + _PAD),
        inner_w=f"{inner_w:.1f}",
        inner_h=f"{inner_h:.1f}",
        pad=_PAD,
        bar=_BAR,
        seconds=SECONDS * len(shown),
        turns=turns,
    )
    svg = console.export_svg(code_format=template, unique_id="demo")
    svg = re.sub(r' clip-path="url\(#demo-line-\d+\)"', "", svg)
    return re.sub(r"<text[^>]*>\s*</text>", "", svg)


if __name__ == "__main__":
    main()
