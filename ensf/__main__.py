"""``python -m ensf`` is the command `ensf`."""

from ensf.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
