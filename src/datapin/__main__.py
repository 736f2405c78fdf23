"""`python -m datapin` is the command `datapin`."""

from __future__ import annotations

from datapin.cli.main import main

if __name__ == "__main__":
    main()
