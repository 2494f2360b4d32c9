"""The board: every method against every experiment, one table."""
