"""The tap, in the agent's process: copies of bytes and log records, to a pipe that somebody may read or not.

A protocol and a transport of its own stand between the event loop and the server's, so that what is copied is
what went over the wire, whoever the client is. A copy is put in a bounded queue, the oldest going when it is
full; a thread writes it to the pipe. So a parent that does not read costs the agent nothing but the copies.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from typing import Any, Final, cast

import msgspec
from aiohttp import web

from agentserver._http.server import HostServer
from agentserver._telemetry.correlation import correlation
from agentserver.inspector.records import Kind, Record, encode

__all__ = ["Tap", "install"]

_QUEUED_BYTES: Final = 8 * 1024 * 1024
_RECORD_COST: Final = 100  # bytes that a queued record counts beside its data
_MOST_LATER: Final = 1000
_BATCH_SECONDS: Final = 0.05
_FLUSH_SECONDS: Final = 0.5
_encoder: Final = msgspec.json.Encoder(enc_hook=str)


class Tap:
    """Takes records and writes them to a pipe, in a thread of its own.

    Args:
        descriptor: The pipe's end for writing, which becomes the tap's own.
        limit: Bytes that may wait, the newest of them.
    """

    def __init__(self, descriptor: int, limit: int = _QUEUED_BYTES) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._limit = limit
        self._queue: deque[Record] = deque()
        self._later: dict[int, tuple[Kind, Callable[[], bytes]]] = {}
        self._size = 0
        self._dropped = 0
        self._gaps: set[int] = set()
        self._lock = threading.Lock()
        self._is_wanted = threading.Event()
        self._is_empty = threading.Event()
        self._numbers = count(1)
        self._is_broken = False
        threading.Thread(target=self._write, name="inspector-tap", daemon=True).start()
        atexit.register(self.flush)

    def number(self) -> int:
        """A number for a new connection."""
        return next(self._numbers)

    def put(self, kind: Kind, connection: int = 0, data: bytes = b"") -> None:
        """Take a record; never waits for the pipe."""
        # Without a lock: threads of the agent never wait for each other here. What is lost when two of them
        # count at once is made good with the next batch, which counts anew.
        self._queue.append(Record(kind, connection, time.monotonic(), data))
        self._size += len(data) + _RECORD_COST
        if self._size > self._limit:
            self._trim()
        self._wake()

    def put_later(self, kind: Kind, key: int, make: Callable[[], bytes]) -> None:
        """Take a record that is made when the next batch is, if nobody takes *key* back before."""
        if len(self._later) < _MOST_LATER:
            self._later[key] = (kind, make)
            self._wake()

    def take_back(self, key: int) -> None:
        """What was to be made for *key* is not to be told any more."""
        self._later.pop(key, None)

    def _wake(self) -> None:
        if not self._is_wanted.is_set():
            self._is_empty.clear()
            self._is_wanted.set()

    def flush(self) -> None:
        """Wait until what was taken is written, for half a second at most."""
        if self._queue or self._later:
            self._is_empty.wait(_FLUSH_SECONDS)

    def _trim(self) -> None:
        with self._lock, suppress(IndexError):
            while self._size > self._limit and len(self._queue) > 1:
                record = self._queue.popleft()
                self._dropped += 1
                self._size -= len(record.data) + _RECORD_COST
                if record.connection:
                    self._gaps.add(record.connection)

    def _write(self) -> None:
        while not self._is_broken:
            self._is_wanted.wait()
            time.sleep(_BATCH_SECONDS)  # so that a request's few records are one write
            self._is_wanted.clear()
            with self._lock:
                losses = list(self._losses())
                self._size = 0
            batch = b"".join(map(encode, [*losses, *self._made(), *self._taken()]))
            try:
                while batch:
                    batch = batch[os.write(self._descriptor, batch) :]
            except OSError:  # the parent is gone, and this process will follow
                self._is_broken = True
                self._limit = 0
            if not self._queue and not self._later:
                self._is_empty.set()

    def _made(self) -> Iterable[Record]:
        now = time.monotonic()
        with suppress(KeyError):  # they may be taken back meanwhile
            while self._later:
                _, (kind, make) = self._later.popitem()
                if data := make():
                    yield Record(kind, 0, now, data)

    def _taken(self) -> Iterable[Record]:
        with suppress(IndexError):  # they may be trimmed meanwhile
            for _ in range(len(self._queue)):
                yield self._queue.popleft()

    def _losses(self) -> Iterable[Record]:
        if self._dropped:
            now = time.monotonic()
            yield Record(Kind.DROPPED, 0, now, b"%d" % self._dropped)
            for connection in sorted(self._gaps):
                yield Record(Kind.GAP, connection, now)
            self._dropped = 0
            self._gaps.clear()


def install(descriptor: int) -> Tap:
    """Copy whatever the servers of this process receive and send, and what it logs, to a pipe."""
    tap = Tap(descriptor)
    for server in (web.Server, HostServer):
        _tap_server(server, tap)
    _tap_log(tap)
    return tap


def _tap_server(server: type[web.Server], tap: Tap) -> None:
    make = server.__call__

    def call(self: web.Server) -> Any:
        return _Protocol(make(self), tap)

    # The loop asks a server for a connection's protocol by calling it.
    server.__call__ = call  # type: ignore[method-assign]  # every server of the process is to be tapped


class _Protocol(asyncio.Protocol):
    """Stands before the connection's protocol, whichever that is at the time."""

    def __init__(self, inner: asyncio.BaseProtocol, tap: Tap) -> None:
        self.inner = inner
        self._tap = tap
        self._number = tap.number()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer: Any = transport.get_extra_info("peername")
        port: int = peer[1] if peer and not isinstance(peer, str) else 0  # of a Unix socket there is none
        self._tap.put(Kind.OPENED, self._number, msgspec.json.encode({"port": port}))
        wire = cast("asyncio.Transport", transport)
        self.inner.connection_made(_Transport(wire, self, self._tap, self._number))

    def connection_lost(self, exc: Exception | None) -> None:
        self._tap.put(Kind.CLOSED, self._number, b'"broken"' if exc else b'"closed"')
        self.inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._tap.put(Kind.RECEIVED, self._number, data)
        inner = self.inner
        if isinstance(inner, asyncio.BufferedProtocol):
            self._fill(memoryview(data))
        else:
            cast("asyncio.Protocol", inner).data_received(data)

    def _fill(self, data: memoryview[int]) -> None:
        """Give *data* to a protocol that has buffers of its own, until another takes its place."""
        while data:
            inner = self.inner
            if not isinstance(inner, asyncio.BufferedProtocol):
                cast("asyncio.Protocol", inner).data_received(bytes(data))
                return
            buffer = memoryview(cast("bytearray", inner.get_buffer(len(data))))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            inner.buffer_updated(size)
            data = data[size:]

    def eof_received(self) -> bool | None:
        return cast("asyncio.Protocol", self.inner).eof_received()

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()


class _Transport(asyncio.Transport):
    """The transport that the server sees: the loop's, with a copy of what is written."""

    def __init__(self, wire: asyncio.Transport, outer: _Protocol, tap: Tap, number: int) -> None:
        super().__init__()
        self._wire = wire
        self._outer = outer
        self._tap = tap
        self._number = number
        # What is asked for in every request goes to the loop's transport without a call in between.
        vars(self).update(
            is_closing=wire.is_closing,
            get_extra_info=wire.get_extra_info,
            pause_reading=wire.pause_reading,
            resume_reading=wire.resume_reading,
            get_write_buffer_size=wire.get_write_buffer_size,
        )

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._wire.is_closing():
            self._tap.put(Kind.SENT, self._number, bytes(data))
        self._wire.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._outer.inner = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._outer.inner

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._wire.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._wire.is_closing()

    def close(self) -> None:
        self._wire.close()

    def abort(self) -> None:
        self._wire.abort()

    def write_eof(self) -> None:
        self._wire.write_eof()

    def can_write_eof(self) -> bool:
        return self._wire.can_write_eof()

    def is_reading(self) -> bool:
        return self._wire.is_reading()

    def pause_reading(self) -> None:
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        self._wire.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._wire.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._wire.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._wire.get_write_buffer_limits()


def _tap_log(tap: Tap) -> None:
    original = logging.Logger.callHandlers

    # Not a handler of the root logger: a program that finds one there does not set its log up itself.
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        with suppress(Exception):  # what cannot be shown must not disturb who logs it
            tap.put(Kind.LOG, 0, _logged(record))
        original(self, record)

    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]  # see above


def _logged(record: logging.LogRecord) -> bytes:
    error = record.exc_info[1] if record.exc_info else None
    fields = {
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
        "exception": "".join(traceback.format_exception(error)) if error else "",
        "ids": correlation(),
    }
    return _encoder.encode(fields)
