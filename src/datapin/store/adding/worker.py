"""A process that adds runs of files: started by `put`, ends with its parent. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import signal
import sys

from datapin.base.errors import StorageFailed
from datapin.store.adding.adding import Adder, PutBatch, Verdicts
from datapin.store.adding.channel import (
    ADVANCED,
    ASK_RUN,
    BATCH,
    FAILED,
    FILLED,
    REFUSED,
    RUN,
    VERDICTS,
    Channel,
    ChannelClosed,
    decode_verdicts,
    encode_batch,
    encode_filled,
    encode_json,
)
from datapin.store.layout import Limits, storage_failures


class _RemoteDesk:
    """The desk at the other end of the channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._arrived: list[Verdicts] = []

    def hand_in(self, batch: PutBatch) -> None:
        self._channel.send(BATCH, encode_batch(batch))

    def refuse(self, number: int, problem: str) -> None:
        self._channel.send(REFUSED, encode_json([number, problem]))

    def advance(self, size_bytes: int) -> None:
        self._channel.send(ADVANCED, b"%d" % size_bytes)

    def verdicts(self) -> Verdicts:
        if self._arrived:
            return self._arrived.pop(0)
        kind, payload = self._channel.receive()
        if kind != VERDICTS:
            raise ChannelClosed
        return decode_verdicts(payload)

    def ask_run(self) -> tuple[int, list[str]] | None:
        """The next run, or None if there is none; verdicts that come first are kept."""
        self._channel.send(ASK_RUN)
        while True:
            kind, payload = self._channel.receive()
            if kind == VERDICTS:
                self._arrived.append(decode_verdicts(payload))
                continue
            if kind != RUN:
                return None
            first, paths = json.loads(payload)
            return first, paths


def main() -> None:
    """Serve the parent whose channel and settings the command line names, until it has no more runs."""
    # Ctrl-C reaches the whole process group; the parent decides, and closing the channel ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    incoming, outgoing, settings = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    channel = Channel(incoming, outgoing)
    desk = _RemoteDesk(channel)
    root = settings["root"]
    limits = Limits(large_asset=settings["large_asset"], pack_size=settings["pack_size"])
    adder = Adder(root, settings["staging"], limits, frozenset(settings["loose_sizes"]), desk)
    try:
        with storage_failures("write to the store", root):
            while (run := desk.ask_run()) is not None:
                adder.add_run(*run)
            channel.send(FILLED, encode_filled(adder.finish()))
    except ChannelClosed:
        os._exit(1)
    except StorageFailed as error:
        adder.abandon()
        channel.send(FAILED, encode_json([error.action, error.path, error.problem]))
