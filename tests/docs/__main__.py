"""Writes the generated pages of docs/reference/ anew: `python -m tests.docs`."""

from tests.docs.generated import FOLDER, PAGES

for name, make in PAGES.items():
    (FOLDER / name).write_text(make(), "utf-8")
