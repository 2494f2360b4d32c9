"""What a filter remembers, in a file: NetCDF that anyone can read, and change by hand.

Adaptive inflation lives at knots, places of its own, and so survives a change of the grid and of the network: a table
of points. What is remembered of every variable is a field on the grid of the state; what is learnt of each kind of
observations has a dimension `kind`. Everything in the file is read again, bit for bit; there is nothing else in it.
"""

from ensf.offline.memory.file import MEMORY, check_memory, read_memory, write_memory
from ensf.offline.memory.kinds import keepers

__all__ = ["MEMORY", "check_memory", "keepers", "read_memory", "write_memory"]
