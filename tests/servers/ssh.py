"""A real SFTP server as a process of its own, below one folder; it can be told to lose a connection.

A file `drop-before-<operation>` or `drop-after-<operation>` in its folder of orders cuts the connection at the next
such operation, once: the server removes the file as it obeys. Operations: `read`, `write`, `rename`. If the order is
not empty, its first line is a path to which the server writes the other lines first, as somebody else might.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

USER = "lab"
PASSWORD = "correct-horse-battery"


@dataclass(frozen=True)
class SshServer:
    """Where it answers; `folder` is its root, `key` opens it as the password does."""

    port: int
    folder: Path
    orders: Path
    key: Path
    process: subprocess.Popen[str]

    def url(self, path: str) -> str:
        """Of `path`, as DVC writes it."""
        return f"ssh://{USER}@127.0.0.1:{self.port}/{path}"

    def drop(self, when: str, *, place: Path | None = None, theirs: bytes = b"") -> Path:
        """Have it lose the connection at the next such moment, `before-write` for one; the order, gone once obeyed.

        If there is a `place`, somebody else has put `theirs` there before the client hears of the loss.
        """
        order = self.orders / f"drop-{when}"
        order.write_bytes(b"" if place is None else os.fsencode(place) + b"\n" + theirs)
        return order


@contextmanager
def ssh_server(folder: Path, *, port: int = 0) -> Iterator[SshServer]:
    """The server, for as long as the block runs; its files lie in `folder` / "files"."""
    files, orders, key = folder / "files", folder / "orders", folder / "key"
    files.mkdir(exist_ok=True)
    orders.mkdir(exist_ok=True)
    if not key.exists():
        made = asyncssh.generate_private_key("ssh-ed25519")
        made.write_private_key(key)
        made.write_public_key(folder / "authorized")
    # The kernel ends the server if its tests die without stopping it. -P: this folder's names are not the library's.
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-P", __file__, os.fspath(folder), str(port)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield SshServer(int(process.stdout.readline()), files, orders, key, process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Login(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


class _Files(asyncssh.SFTPServer):
    orders: Path

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        self._obey("before-read")
        return super().read(file_obj, offset, size)  # type: ignore[return-value]  # its stub also allows to wait for it

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        self._obey("before-write")
        return super().write(file_obj, offset, data)  # type: ignore[return-value]  # its stub also allows to wait for it

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._obey("before-rename")
        super().posix_rename(oldpath, newpath)
        self._obey("after-rename")

    def _obey(self, moment: str) -> None:
        order = self.orders / f"drop-{moment}"
        try:
            place, _, theirs = order.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return
        order.unlink()
        if place:
            Path(os.fsdecode(place)).write_bytes(theirs)
        self.channel.get_connection().abort()
        raise asyncssh.SFTPConnectionLost("as ordered")


async def _serve(folder: Path, port: int) -> None:
    _Files.orders = folder / "orders"
    server = await asyncssh.listen(
        "127.0.0.1",
        port,
        server_factory=_Login,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=os.fspath(folder / "authorized"),
        sftp_factory=lambda channel: _Files(channel, chroot=os.fsencode(folder / "files")),
    )
    print(server.get_port(), flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
