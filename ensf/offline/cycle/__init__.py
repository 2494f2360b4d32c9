"""External models: programs of any language that read and write one file per member, cycled with analyses."""

from ensf.offline.cycle.command import Command, Task
from ensf.offline.cycle.driver import Analyse, Checkpoint, plan, run
from ensf.offline.cycle.parameters import Estimated
from ensf.offline.cycle.settings import Cycling

__all__ = ["Analyse", "Checkpoint", "Command", "Cycling", "Estimated", "Task", "plan", "run"]
