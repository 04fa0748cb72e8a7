"""How long tests take that could go on for ever: short by default, long for `make chaos`."""

import os

LONG = os.environ.get("SWEEPER_TEST_LONG") == "1"
