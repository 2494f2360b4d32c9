"""A RUN ON DISK: what is written while it goes, and how it goes on after a stop."""
