"""A process that has imported what `datapin` and `dvc` need, and forks for each command: see warm.py.

Called with "libraries" it imports nothing of datapin: what reads the environment while it is loaded must find that of
the command.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

IMPORTS = (
    # what datapin uses
    "numpy pyarrow pyarrow.compute pyarrow.parquet click yaml ruamel.yaml pydantic zstandard diskcache PIL.Image "
    "imagehash dateutil.parser concurrent.futures multiprocessing.connection configparser csv difflib "
    "email.message getpass hashlib http.client mmap shlex shutil sqlite3 tempfile tomllib urllib.request zipfile "
    # and DVC
    "dvc.cli dvc.cli.parser dvc.repo dvc.stage dvc.fs dvc.logger dvc._debug dvc.cachemgr dvc.data_cloud dvc.lock "
    "dvc.repo.index dvc.repo.graph dvc.repo.trie dvc.repo.add dvc.repo.reproduce dvc.repo.open_repo dvc.repo.plots "
    "dvc.repo.artifacts dvc.repo.datasets dvc.repo.metrics dvc.repo.params dvc.repo.stage dvc.utils.strictyaml "
    "dvc.scm dvc.rwlock dvc_data.index dvc_data.hashfile.status dvc_data.hashfile.transfer scmrepo.git "
    "dulwich.porcelain networkx rich.table rich.console pygit2 configobj platformdirs"
)
_MOST = 1 << 20


def serve(place: socket.socket) -> list[str]:
    """Take requests until the other side is gone; returns in the child that is to run the command given."""
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        data, numbers, _, _ = socket.recv_fds(place, _MOST, 4)
        if not data:
            sys.exit(0)
        if os.fork() == 0:
            place.close()
            return _attend(json.loads(data), numbers)
        for number in numbers:
            os.close(number)


def _attend(asked: dict[str, object], numbers: list[int]) -> list[str]:
    """In the first child: wait for the second one, which returns and runs the command, and tell how it ended."""
    *streams, answer = numbers
    child = os.fork()
    if child:
        for number in streams:
            os.close(number)
        _, status = os.waitpid(child, 0)
        os.write(answer, str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    os.close(answer)
    for wanted, number in enumerate(streams):
        os.dup2(number, wanted)
        os.close(number)
    os.chdir(str(asked["folder"]))
    environment = asked["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    words = asked["words"]
    assert isinstance(words, list)
    return [str(word) for word in words]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in IMPORTS.split():
        importlib.import_module(name)
    if sys.argv[2] == "all":
        for verb in importlib.import_module("datapin.cli.main").VERBS:
            importlib.import_module(f"datapin.cli.commands.{verb.replace('-', '_')}")
        # What `Repo` loads when it is asked: all verbs.
        for module in pkgutil.walk_packages(importlib.import_module("datapin.verbs").__path__, "datapin.verbs."):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()
    words = serve(socket.socket(fileno=int(sys.argv[1])))
    random.seed()
    if Path(words[0]).name != "dvc":
        importlib.import_module("colorama").deinit()  # DVC takes colours out of what all of a process prints
    sys.argv = words
    sys.path[0] = str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name="__main__")
