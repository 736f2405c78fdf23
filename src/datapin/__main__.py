"""`python -m datapin` is the command `datapin`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, which `python -m` puts first: its `json.py` is not ours to import
    from datapin.cli.main import main

    main()
