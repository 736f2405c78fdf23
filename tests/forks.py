"""The command line in a fork of this process: a test that calls it fifty times pays for the imports once."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from clones import ENVIRONMENT, Ended
from datapin.base import failpoints
from datapin.cli.main import main


def call(folder: Path, words: Sequence[str], *, armed: str = "", log: str = "") -> Ended:
    """`datapin WORDS` in `folder`, with a failpoint armed, or all of them written to `log`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            code: int | str | None = 70
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(said.fileno(), 2)
                with open(1, "w", closefd=False) as stdout, open(2, "w", closefd=False) as stderr:
                    sys.stdout, sys.stderr = stdout, stderr
                    try:
                        failpoints._armed, failpoints._log = armed, log
                        os.environ.clear()
                        os.environ.update(ENVIRONMENT)
                        os.chdir(folder)
                        main(list(words))
                    except SystemExit as ended:
                        code = ended.code
                    except Exception:
                        traceback.print_exc()
                        raise
            finally:
                os._exit(int(code or 0))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        said.seek(0)
        return Ended(list(words), status, out.read().decode(), said.read().decode())
