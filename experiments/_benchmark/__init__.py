"""The board: every method against every experiment, one table. `ensf board` takes its plan from here."""

from ensf.experiments._benchmark.plan import EXPERIMENTS, METHODS, Plan, Row, heat_map, run, write

__all__ = ["EXPERIMENTS", "METHODS", "Plan", "Row", "heat_map", "run", "write"]
