"""The model of the protocol: spin visits every state, and misses each guarantee that is removed."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.length import LONG
from tests.support.paths import ROOT

MODEL = Path(__file__).with_name("sweeper.pml")
PAGE = Path(__file__).with_name("README.md").read_text("utf-8")
MISSING = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
CODE = re.compile(r"`((?:sweeper|jobs)/[\w/]+\.py)::([\w.]+)`")
SECONDS = 3600 if LONG else 300

needs_spin = pytest.mark.skipif(
    bool(MISSING),
    reason=f"THE MODEL IS NOT CHECKED without {MISSING}: apt install spin gcc libc6-dev",
)

FAULTS = (
    "THREADS=3",
    "THREADS=3 KILLS=1",
    "THREADS=2 STOPS=1 TROUBLES=1",
    "THREADS=2 EXPIRIES=2 KILLS=1",
    "THREADS=2 FAULTY=1 COPIES=2",
    "THREADS=3 FAULTY=1",
    "THREADS=2 POISONS=1 TROUBLES=1",
)
MORE_FAULTS = (
    "THREADS=3 EXPIRIES=1",
    "THREADS=3 TROUBLES=1 STOPS=1",
    "THREADS=3 FAULTY=2 KILLS=1",
    "THREADS=3 POISONS=1 STOPS=1",
    "THREADS=3 KILLS=2 STOPS=1",
    "THREADS=2 ORDERS=3 KILLS=1",
    "THREADS=4 KILLS=1",
)
AT_LAST = ("THREADS=2", "THREADS=2 KILLS=1", "THREADS=2 FAULTY=1", "THREADS=2 POISONS=1")
REMOVED = (
    ("SETTLE_AFTER KILLS=1", "a_job_ends_once"),
    ("SETTLE_AFTER NO_RECHECK KILLS=1", "an_order_is_cancelled_once"),
    ("SEND_APART FAULTY=1", "a_job_is_never_in_no_place"),
    ("NO_RECHECK", "a_paid_order_is_left_alone"),
    ("NO_ROW_LOCK", "a_paid_order_is_left_alone"),
    ("NO_SCAN_LOCK", "an_order_has_one_message"),
    ("STOP_COUNTS STOPS=1", "only_crashes_count_as_crashes"),
    ("NO_MARK TROUBLES=1", "only_crashes_count_as_crashes"),
    ("SHARED_LIST KILLS=1", "only_crashes_count_as_crashes"),
    ("NO_FENCE EXPIRIES=1 STOPS=1", "a_lease_ends_by_itself_or_its_holder"),
    ("READ_UNCOUNTED KILLS=1", "every_crash_is_counted"),
    ("NO_ISOLATION POISONS=1", "a_poison_message_dies_alone"),
    ("FORGETS KILLS=1 TROUBLES=1", "only_crashes_count_as_crashes"),
)


@dataclass(frozen=True, slots=True)
class Search:
    """What spin's search has found, and all that it printed."""

    errors: int
    states: int
    violated: str | None
    text: str


def search(folder: Path, switches: str, *compiled: str, run: tuple[str, ...] = ()) -> Search:
    """Build the model with *switches*, and search all its states."""
    flags = [f"-D{switch}" for switch in switches.split()]
    depth = "-m2000000"
    for command in (
        ["spin", *flags, "-a", str(MODEL)],
        ["gcc", "-O1", "-w", "-DCOLLAPSE", "-DMEMLIM=4000", *compiled, "-o", "pan", "pan.c"],
        ["./pan", depth, *run],
    ):
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0 or command[0] == "./pan", done.stdout + done.stderr
    text = done.stdout + done.stderr
    errors, states = re.search(r"errors: (\d+)", text), re.search(r"(\d+) states, stored", text)
    assert errors, text
    assert states, text
    violated = re.search(r"assertion violated (\w+)|(acceptance cycle)", text)
    name = violated and (violated[1] or violated[2])
    return Search(int(errors[1]), int(states[1]), name, text)


def is_whole(found: Search) -> bool:
    """Return whether the search has left nothing out."""
    cut_short = ("too small", "Search not completed", "out of memory")
    return found.states > 1000 and not any(words in found.text for words in cut_short)


@needs_spin
@pytest.mark.parametrize("switches", FAULTS + (MORE_FAULTS if LONG else ()))
def test_no_order_of_steps_and_faults_breaks_a_law(switches: str, tmp_path: Path) -> None:
    """L1, L2, L3, L5, L8: and nothing waits for ever, with no step left to take."""
    found = search(tmp_path, switches, "-DSAFETY", "-DNOCLAIM")

    assert (0, None) == (found.errors, found.violated), found.text
    assert is_whole(found), found.text


@needs_spin
@pytest.mark.parametrize("switches", AT_LAST)
def test_every_due_order_is_handled_at_last(switches: str, tmp_path: Path) -> None:
    """L2: as long as each thread goes on whenever it can, and there are not crashes for ever."""
    found = search(tmp_path, switches, "-DNFAIR=5", run=("-a", "-f", "-N", "handled_at_last"))

    assert (0, None) == (found.errors, found.violated), found.text
    assert is_whole(found), found.text


@needs_spin
@pytest.mark.parametrize(("switches", "law"), REMOVED)
def test_without_one_guarantee_its_law_is_broken(switches: str, law: str, tmp_path: Path) -> None:
    found = search(tmp_path, switches, "-DSAFETY", "-DNOCLAIM")

    assert (1, law) == (found.errors, found.violated), found.text


@needs_spin
def test_without_the_count_of_reads_a_poison_message_is_never_done_with(tmp_path: Path) -> None:
    flags = "THREADS=2 POISONS=1 READ_UNCOUNTED"
    found = search(tmp_path, flags, "-DNFAIR=5", run=("-A", "-a", "-f", "-N", "handled_at_last"))

    assert (1, "acceptance cycle") == (found.errors, found.violated), found.text


def test_the_page_names_code_that_exists() -> None:
    named = CODE.findall(PAGE)
    stale = [(file, name) for file, name in named if not _has(ROOT / file, name)]

    assert [] == stale
    assert len(named) > 20


def test_the_page_explains_every_step_property_and_switch() -> None:
    model = MODEL.read_text("utf-8")
    places = re.search(r"mtype:place = \{([^}]*)\}", model)
    assert places
    properties = re.findall(r"demand\((\w+), (?!condition)", model)
    switches = {word for flags, _ in REMOVED for word in flags.split() if "=" not in word}
    steps = set(re.findall(r"\w+", places[1]))

    assert set() == (steps | switches | set(properties)) - set(re.findall(r"`(\w+)`", PAGE))


def _has(file: Path, name: str) -> bool:
    """Return whether *file* defines the function, or the method of a class."""
    text = file.read_text("utf-8")
    *owner, function = name.split(".")
    after = text.partition(f"class {owner[0]}")[2] if owner else text
    body = after.partition("\nclass ")[0] if owner else after
    return re.search(rf"^ *(?:def|class) {function}\b", body, re.MULTILINE) is not None
