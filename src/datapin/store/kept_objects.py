"""Objects of a remote that never change, kept in a folder here so that they are read over the network once."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from datapin.base.files import TEMPORARY_PREFIX, make_directory, sweep_temporaries, temporary_name, write_all


class KeptObjects:
    """Files by name below `folder`; without a folder nothing is kept. A cache: what cannot be kept is not an error.

    A file may be damaged or cut off by a crash, as it is not fsynced: whoever reads it checks it.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def find(self, name: str) -> bytes | None:
        """The bytes kept under `name`."""
        if self._folder is None:
            return None
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None

    def keep(self, name: str, data: bytes) -> None:
        """Keep `data`, at once: a reader sees all of it or nothing."""
        if self._folder is None:
            return
        with suppress(OSError):
            make_directory(self._folder)
            temporary = self._folder / temporary_name()
            try:
                number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
                try:
                    write_all(number, data)
                finally:
                    os.close(number)
                os.replace(temporary, self._folder / name)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise

    def forget(self, name: str) -> None:
        """Keep no object under `name`."""
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / name).unlink()

    def forget_all_but(self, names: Collection[str]) -> None:
        """Forget what the remote does not list any more."""
        if self._folder is None:
            return
        with suppress(OSError):
            sweep_temporaries(self._folder)
            for name in os.listdir(self._folder):
                if name not in names and not name.startswith(TEMPORARY_PREFIX):
                    self.forget(name)
