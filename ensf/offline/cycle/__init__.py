"""External models: programs of any language that read and write one file per member, cycled with analyses."""

from ensf.offline.cycle.command import Command, Task
from ensf.offline.cycle.driver import Analyse, Checkpoint, run, summary_lines
from ensf.offline.cycle.members import check_member
from ensf.offline.cycle.settings import Cycling

__all__ = ["Analyse", "Command", "Cycling", "Checkpoint", "Task", "check_member", "run", "summary_lines"]
