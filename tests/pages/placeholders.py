"""What stands for the words in CAPITALS of the pages: samples to parse, real ones to run."""

import re
from collections.abc import Mapping

# A sample of each, where a block is only parsed. A word in CAPITALS that is not here is no
# placeholder, and would be typed as it stands.
SAMPLES: Mapping[str, str] = {
    "FINGERPRINT": "0a1b2c3d4e5f",
    "FOLDER": "folder",
    "HOST": "db.example.com",
    "ID": "7",
    "N": "2000",
    "NAME": "ci",
    "ORDER": "JST-EF2E7B-4A",
    "ORDER_ID": "cmh3v2k9x0000s6l5d8q2w7ab",
    "PASSWORD": "secret",
    "REPOSITORY": "https://example.com/sweeper.git",
    "ROLE": "sweeper",
    "RULE": "expire_dp",
    "TARGET": "expire_dp",
    "TEXT": "checked",
    "USER": "sweeper",
    "VERSION": "1.0.0",
    "plan.json": "/dev/null",  # written by the command before, so that it is there to read
}
URL = "postgresql://USER:PASSWORD@HOST:5432/postgres"


def sample(text: str) -> str:
    """Return *text* with a sample for each placeholder."""
    return filled(text, SAMPLES)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return *text* with a value for each placeholder; one that has none stays."""
    names = "|".join(re.escape(name) for name in sorted(values, key=len, reverse=True))
    return re.sub(rf"(?<![\w$-])(?:{names})(?![\w=-])", lambda found: values[found[0]], text)
