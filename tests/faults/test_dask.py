"""Dask: workers that are killed, stopped, out of memory or of another version, and schedulers that go away."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from datapin.base.errors import EngineUnreachable, OperatorRefused, Refused, Usage, WorkersLost
from datapin.pipeline.mapping.engines import dask
from datapin.pipeline.mapping.engines.dask import DaskEngines
from datapin.pipeline.mapping.engines.dask_task import STORE, run_one, traits_of
from datapin.pipeline.mapping.work import DeriveAssets
from datapin.pipeline.operators.images.prepare import NormaliseImage
from datapin.pipeline.stages.featurize import run_featurize
from datapin.pipeline.stages.prepare import run_prepare
from datapin.testing.engine_suite import Trial, results
from workspaces import Workspace, digits, labels_of

PARAMS = "prepare: {resize: 6, split: {train: 0.5, test: 0.5}}\n"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskEngines]:
    """Dask, with two processes here."""
    engines = DaskEngines(None, 2)
    yield engines
    engines.close()


@contextmanager
def started(*words: str, environment: Mapping[str, str] = ONE_THREAD) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Dask: `scheduler` or `worker`."""
    command = [sys.executable, "-P", "-m", f"distributed.cli.dask_{words[0]}", *words[1:]]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def scheduler(folder: Path, *more: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler and its address."""
    file = folder / "scheduler.json"
    here = ("--no-dashboard", "--port", "0", *(more or ("--host", "127.0.0.1")))
    with started("scheduler", *here, "--scheduler-file", str(file)) as process:
        for _ in range(600):
            if file.exists():
                break
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"], process


def worker_of(address: str, folder: Path, **more: str) -> Any:
    """A worker with one thread and no nanny."""
    words = ("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder))
    return started(*words, environment={**ONE_THREAD, **more})


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_workers_may_be_killed_and_stopped_while_they_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "3s")
    engines = DaskEngines(None, 3)
    try:
        engine = engines(True)
        pids = sorted(set(results(engine, ["pid"] * 60)))
        assert len(pids) == 3
        os.kill(pids[0], signal.SIGKILL)
        os.kill(pids[1], signal.SIGSTOP)  # and it is never woken
        assert results(engine, list(range(200))) == [number * number for number in range(200)]
        assert pids[2] in results(engine, ["pid"] * 40)
    finally:
        engines.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@dataclass(frozen=True)
class Fills:
    """A computation that takes as many bytes as its item says."""

    def begin(self) -> Callable[[int], int]:
        return self.compute

    def compute(self, size: int) -> int:
        filled = bytearray(b"x") * size
        time.sleep(3.0 if size > 1 else 0)  # a nanny looks ten times a second
        return len(filled)


def test_a_worker_that_is_out_of_memory_is_an_error_that_says_what_it_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE", "0.05")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    engines = DaskEngines(None, 1)
    try:
        limit = next(iter(engines.opened().scheduler_info()["workers"].values()))["memory_limit"]
        with pytest.raises(WorkersLost, match=r"3 times: lost while working on \d+") as caught:
            list(engines(True).run(_by_name("Fills"), [(0, 1), (1, int(0.06 * limit))]))
        assert "out of memory" in caught.value.hint
    finally:
        engines.close()


def _by_name(name: str) -> Any:
    """One of these computations as a worker imports it."""
    import importlib

    return getattr(importlib.import_module("faults.test_dask"), name)()


def test_a_scheduler_that_dies_ends_the_run_with_its_address(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, process), worker_of(address, tmp_path):
        engines = DaskEngines(address, 1)
        engines.opened().wait_for_workers(1, timeout=60)
        running = engines(True).run(Trial(), enumerate(range(10_000)))
        assert next(running) == (0, 0)
        process.kill()
        with pytest.raises(EngineUnreachable, match=address.rpartition(":")[2]):
            list(running)
        engines.close()


def test_a_scheduler_without_workers_is_refused_and_used_when_it_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "NO_WORKER_S", 1.0)
    with scheduler(tmp_path) as (address, _):
        engines = DaskEngines(address, 1)
        with pytest.raises(EngineUnreachable, match="has no worker") as caught:
            results(engines(True), [1])
        assert "dask worker" in caught.value.hint
        with worker_of(address, tmp_path):
            engines.opened().wait_for_workers(1, timeout=60)
            assert results(engines(True), [1, 2, 3]) == [1, 4, 9]
        engines.close()


def test_a_run_whose_workers_are_all_gone_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "NO_WORKER_S", 1.0)
    monkeypatch.setattr(dask, "_LOOK_S", 0.5)
    with scheduler(tmp_path) as (address, _):
        engines = DaskEngines(address, 1)
        with worker_of(address, tmp_path):
            engines.opened().wait_for_workers(1, timeout=60)
            running = engines(True).run(Trial(), enumerate(range(100_000)))
            assert next(running) == (0, 0)
        with pytest.raises(EngineUnreachable, match="all of its workers are gone"):
            list(running)
        engines.close()


def test_nothing_at_the_address(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "CONNECT_S", 0.5)
    with pytest.raises(EngineUnreachable, match=r"dask:tcp://127.*no scheduler answers"):
        results(DaskEngines(f"tcp://127.0.0.1:{closed_port}", 1)(True), [1])
    with pytest.raises(Usage, match="'nonsense' is no address"):
        results(DaskEngines("nonsense", 1)(True), [1])


def test_a_worker_without_datapin_is_named(tmp_path: Path) -> None:
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text("import sys\nsys.modules['datapin'] = None\n")
    with scheduler(tmp_path) as (address, _), worker_of(address, tmp_path, PYTHONPATH=str(tmp_path)):
        engines = DaskEngines(address, 1)
        engines.opened().wait_for_workers(1, timeout=60)
        with pytest.raises(EngineUnreachable, match=r"cannot run datapin: .*datapin"):
            results(engines(True), [1])
        engines.close()


def test_a_worker_with_more_threads_is_refused(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, _), worker_of(address, tmp_path, OPENBLAS_NUM_THREADS="4"):
        engines = DaskEngines(address, 1)
        engines.opened().wait_for_workers(1, timeout=60)
        with pytest.raises(Refused, match="OPENBLAS_NUM_THREADS 4, expected 1"):
            results(engines(True), [1])
        engines.close()


def test_a_worker_of_another_version_or_without_the_store_refuses(tmp_path: Path, cluster: DaskEngines) -> None:
    workspace = Workspace.make(tmp_path / "repo")
    client = cluster.opened()
    computation: Any = DeriveAssets(NormaliseImage((6, 6), "stretch", "L"), workspace.store.root)
    right = traits_of(computation)
    assert right["pillow"]
    for wrong, said in (
        ({"datapin": "0.0.1 (abc)"}, "expected 0.0.1 (abc)"),
        ({"pillow": "1"}, "expected 1"),
        ({STORE: str(workspace.root / "nowhere")}, "does not see the store"),
    ):
        task = ("token", pickle.dumps(computation), {**right, **wrong}, pickle.dumps(None))
        answer = client.submit(run_one, *task, pure=False).result()
        assert isinstance(answer, Refused)
        assert said in answer.message
        assert answer.hint


def test_a_worker_that_lives_on_computes_with_the_code_of_today(tmp_path: Path, cluster: DaskEngines) -> None:
    workspace = Workspace.make(tmp_path / "repo")
    assets = digits(10)
    workspace.write("data/prepared", assets, label=labels_of(assets), split=["train"] * 10)
    params = workspace.params("featurize: {input: data/prepared, extract: [{use: 'mine:size'}]}\n")
    seen = []
    for factor in (1, 2):
        code = f"import numpy as np\ndef size(assets):\n    return np.array([[len(a) * {factor}] for a in assets])\n"
        (workspace.root / "mine.py").write_text(code)
        seen.append(run_featurize(replace(workspace.context(2), engines=cluster), params).digest)
        here = run_featurize(workspace.context(2), params)
        assert (here.digest, here.computed) == (seen[-1], 0)
    other = Workspace.make(tmp_path / "other")
    other.write("data/prepared", assets, label=labels_of(assets), split=["train"] * 10)
    (other.root / "mine.py").write_text(code)
    assert run_featurize(other.context(2), other.params((params).read_text())).digest == seen[1] != seen[0]


def test_a_function_that_is_another_on_the_worker_is_refused(tmp_path: Path) -> None:
    from datapin.pipeline.params.stages import UserFunctionParams
    from datapin.pipeline.stages.featurize import _user_function

    (tmp_path / "mine.py").write_text("def size(assets):\n    return [[1.0]]\n")
    function = _user_function(UserFunctionParams(use="mine:size"), tmp_path)
    function.load_anew()
    (tmp_path / "mine.py").write_text("def size(assets):\n    return [[2.0]]\n")
    with pytest.raises(OperatorRefused, match=r"its code below .* differ"):
        function.load_anew()


def test_what_a_function_prints_does_not_mix_with_results(tmp_path: Path) -> None:
    script = """
        import sys
        from datapin.pipeline.mapping.engines.dask import DaskEngines
        from datapin.testing.engine_suite import Trial
        engines = DaskEngines(None, 1)
        client = engines.opened()
        client.submit(print, "from a worker", pure=False).result()
        print(list(engines(True).run(Trial(), [(0, 3)])))
        engines.close()
    """
    # A script without `if __name__ == "__main__"`, from the standard input: workers must not need it.
    done = subprocess.run([sys.executable, "-"], input=textwrap.dedent(script), capture_output=True, text=True)
    assert done.stdout == "[(0, 9)]\n", done.stderr
    assert "from a worker" in done.stderr


def test_workers_end_when_the_command_is_killed(tmp_path: Path) -> None:
    script = f"""
        import os, pathlib, time
        from datapin.pipeline.mapping.engines.dask import DaskEngines
        pids = [DaskEngines(None, 2)(True)]
        client = pids[0]._open()
        pathlib.Path({str(tmp_path)!r}, "pids").write_text(" ".join(map(str, client.run(os.getpid).values())))
        time.sleep(600)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    try:
        wait_for(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 2)
    finally:
        process.kill()
        process.wait()
    pids = (tmp_path / "pids").read_text().split()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_cluster_with_tls_by_the_settings_of_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed.security import Security

    made = Security.temporary()  # type: ignore[no-untyped-call]
    for name in ("tls_ca_file", "tls_client_key", "tls_client_cert"):
        (tmp_path / name).write_text(getattr(made, name))
    ca, key, cert = (str(tmp_path / name) for name in ("tls_ca_file", "tls_client_key", "tls_client_cert"))
    words = ("--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key)
    with scheduler(tmp_path, "--protocol", "tls", *words) as (address, _):
        assert address.startswith("tls://")
        with started("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", *words):
            with pytest.raises(EngineUnreachable, match="no key and certificate for TLS") as caught:
                results(DaskEngines(address, 1)(True), [1])  # without keys
            assert "distributed.comm.tls" in caught.value.hint
            settings = {"ca-file": ca, "client.key": key, "client.cert": cert}
            import dask as library

            with library.config.set({f"distributed.comm.tls.{name}": path for name, path in settings.items()}):
                engines = DaskEngines(address, 1)
                engines.opened().wait_for_workers(1, timeout=60)
                workspace = Workspace.make(tmp_path / "repo")
                assets = digits(20)
                workspace.write("data/raw", assets, label=labels_of(assets))
                context = replace(workspace.context(2), engines=engines)
                assert run_prepare(context, workspace.params(PARAMS)).computed == 20
                engines.close()
