"""A mutant: one fault that is planted in one file, and the tests that must see it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault that would hurt somebody.

    name       -- what is wrong while it is planted
    law        -- the law that it breaks, L1 to L12; or else "access" or "contract"
    file       -- where it is planted
    old, new   -- the piece of source that is replaced, and by what; *old* is there exactly once
    tests      -- one of which must fail, as pytest is given them, apart by spaces
    equivalent -- why no test can fail, for a fault that changes nothing anybody could see
    """

    name: str
    law: str
    file: str
    old: str
    new: str
    tests: str
    equivalent: str = ""

    def planted(self, source: str) -> str:
        """Return *source* with the fault; raises StaleError where it does not fit any more."""
        if (times := source.count(self.old)) != 1:
            message = f"{self.file} has the piece {times} times, not once: {self.old!r}"
            raise StaleError(message)
        mutated = source.replace(self.old, self.new)
        if self.file.endswith(".py"):
            try:
                ast.parse(mutated)
            except SyntaxError as error:
                message = f"the fault in {self.file} is not Python: {error.msg}"
                raise StaleError(message) from error
        return mutated

    def faults(self, root: Path) -> Iterator[str]:
        """Yield what keeps the mutant from being planted and run in the tree at *root*."""
        try:
            self.planted((root / self.file).read_text("utf-8"))
        except (OSError, StaleError) as error:
            yield f"{self.name}: {error}"
        for test in self.tests.split():
            path, _, function = test.partition("::")
            file = root / path
            if not file.is_file() or not re.search(
                rf"^def {function}\b", file.read_text(), re.MULTILINE
            ):
                yield f"{self.name}: there is no test {test}"


class StaleError(Exception):
    """The source has changed, so that the mutant must be written anew."""
