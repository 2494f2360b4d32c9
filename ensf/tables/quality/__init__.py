"""Quality control of observations: checks, super-observations, reasons."""
