"""Models for twin experiments: each is a settings object that advances states ``(..., state)`` in time."""
