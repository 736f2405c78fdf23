"""Ceph's radosgw on one machine: a monitor, one storage daemon that keeps its bytes in memory, and the gateway.

It needs no root, no systemd and no manager daemon; nothing outside its folder is written. It takes about two seconds.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from servers.s3_server import S3Server, reserved_ports

PROGRAMS = ("ceph-mon", "ceph-osd", "ceph", "monmaptool", "radosgw", "radosgw-admin")
_READY_S = 180

# - Fast elections: a monitor that waits a second before each proposal takes twelve to come up.
# - "ms mon client mode = crc" is what radosgw needs when there is no cephx.
# - The garbage of overwritten and deleted objects waits hours by default, and here it would wait in memory.
_CONFIG = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
keyring = {state}/keyring
run dir = {state}
admin socket = {state}/$name.asok
log file = {state}/$name.log
mon cluster log file = {state}/cluster.log
crash dir = {state}
pid file =
heartbeat file =
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
mon max pg per osd = 1000
rgw rados pool pg num min = 4
rgw rados pool autoscale bias = 1
[mon]
mon data = {state}/mon
mon data avail crit = 1
mon cluster log to syslog = false
paxos propose interval = 0.02
paxos min wait = 0.01
[osd]
osd data = {state}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd memory target = 939524096
osd op num shards = 2
osd op num threads per shard = 1
[client.rgw]
ms mon client mode = crc
rgw frontends = beast endpoint=127.0.0.1:{rgw_port} tcp_nodelay=1
rgw thread pool size = 64
rgw run sync thread = false
rgw enable ops log = false
rgw enable usage log = false
rgw gc obj min wait = 3
rgw gc processor period = 3
rgw gc processor max time = 3
rgw override bucket index max shards = 1
"""


class CephFailed(Exception):
    """A daemon did not come up; the text ends with what it said."""


def missing_programs() -> list[str]:
    """The programs of Ceph that this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def radosgw() -> Iterator[S3Server]:
    """The gateway with one user, for as long as the block runs. Raises CephFailed."""
    with reserved_ports(2) as ports:
        cluster = _Cluster(Path(tempfile.mkdtemp(prefix="datapin-ceph-")))
        try:
            yield cluster.start(*ports)
        finally:
            cluster.stop()


class _Cluster:
    """The daemons, and the folder that holds all their state."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._environment = {**os.environ, "CEPH_CONF": str(state / "ceph.conf"), "TMPDIR": str(state)}

    def start(self, mon_port: int, rgw_port: int) -> S3Server:
        state = self._state
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        for folder in ("mon", "osd"):
            (state / folder).mkdir()
        (state / "ceph.conf").write_text(
            _CONFIG.format(state=state, fsid=fsid, mon_port=mon_port, rgw_port=rgw_port), encoding="utf-8"
        )
        monmap = str(state / "monmap")
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", monmap)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        self._spawn("ceph-mon", "-i", "a", "-f")
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", "-i", "0", "-f")
        access_key, secret_key = "ACCESSKEYOFTESTS", uuid.uuid4().hex
        self._run("radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests",
                  f"--access-key={access_key}", f"--secret-key={secret_key}")  # fmt: skip
        self._spawn("radosgw", "-n", "client.rgw", "-f")
        self._wait_for_port(rgw_port)
        return S3Server("radosgw", f"http://127.0.0.1:{rgw_port}", access_key, secret_key, checks_keys=True)

    def stop(self) -> None:
        """End the daemons, gateway first, and forget everything they held."""
        for daemon in reversed(self._daemons):
            # What they hold is thrown away with the folder: there is nothing to shut down in good order.
            daemon.kill()
            daemon.wait()
        shutil.rmtree(self._state, ignore_errors=True)

    def _run(self, *words: str) -> None:
        try:
            ended = subprocess.run(words, env=self._environment, capture_output=True, timeout=_READY_S, check=False)
        except subprocess.TimeoutExpired:
            raise CephFailed(f"{words[0]} did not end within {_READY_S} s; {self._last_words()}") from None
        if ended.returncode:
            raise CephFailed(f"{' '.join(words)}: {ended.stderr.decode(errors='replace')[-2000:]}")

    def _spawn(self, *words: str) -> None:
        # The kernel ends a daemon whose tests died without stopping it.
        command = ["setpriv", "--pdeathsig", "KILL", *words]
        with (self._state / f"{words[0]}.err").open("wb") as said:
            self._daemons.append(
                subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            )

    def _wait_for_port(self, port: int) -> None:
        end_s = time.monotonic() + _READY_S
        while time.monotonic() < end_s:
            if any(daemon.poll() is not None for daemon in self._daemons):
                raise CephFailed(f"a daemon ended; {self._last_words()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise CephFailed(f"radosgw did not listen within {_READY_S} s; {self._last_words()}")

    def _last_words(self) -> str:
        said: Sequence[Path] = sorted(self._state.glob("*.err"))
        return "; ".join(f"{path.stem}: {path.read_text(errors='replace')[-500:]}" for path in said)
