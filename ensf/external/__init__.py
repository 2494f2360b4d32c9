"""External models: programs of any language that read and write one file per member, cycled with analyses."""

from ensf.external.command import Command, Task
from ensf.external.cycling import Cycling
from ensf.external.driver import Analyse, Standing, run
from ensf.external.members import check_member

__all__ = ["Analyse", "Command", "Cycling", "Standing", "Task", "check_member", "run"]
