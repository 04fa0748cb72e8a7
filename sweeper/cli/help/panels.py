"""The groups in which `sweeper --help` shows the commands; a job file names its own as text."""

START = "Start"
RUN = "Run"
LOOK = "Look"
ACT = "Act by hand"
SET_UP = "Set up"
OTHERS = "Of the job package"
"""The group of the commands that name none."""

PANELS = (START, RUN, LOOK, ACT, SET_UP, OTHERS)
