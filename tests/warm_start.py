"""Starts Python programs in which the big libraries are imported already.

Most of what a run of the tests spends goes into starting Python and importing aiohttp, hundreds of times.
Within ``with warm_starts():``, ``python`` with a file, ``-m`` or ``-c`` is forked from a process that has
done that and nothing else: it has no loop, no thread, and nothing of agentserver. What is forked is a process
like any other and a child of whoever asked for it: `subprocess` and asyncio wait for it and send it signals.
It has its own arguments, variables, directory and standard streams, and measures its own coverage.

Everything else starts as ever: what gives Python options, further descriptors or something to do before it
begins (but `take_terminal`), and what changes variables that Python itself reads. With ``COLD=1``, and on
systems other than Linux, everything does.

How. The process waits at a socket. It is told what to run and given three descriptors, forks twice, and says
the number of the grandchild when the child between them has ended. Whoever asked is for that moment the
reaper of its descendants (``PR_SET_CHILD_SUBREAPER``), and so becomes the grandchild's parent.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import fcntl
import gc
import inspect
import io
import json
import os
import runpy
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
# What many programs import; not OpenTelemetry itself, whose presence changes what a program does.
LIBRARIES: Final = ("aiohttp.web", "argparse", "asyncio.subprocess", "msgspec.json", "uvloop")
_SUBREAPER: Final = 36  # PR_SET_CHILD_SUBREAPER, of <sys/prctl.h>
# What Python reads before a program runs; the path is made anew for each.
_READ_AT_START: Final = ("PYTHON", "LC_", "LANG")
_OF_ONE_PROGRAM: Final = ("PYTHONPATH", "PYTHONUNBUFFERED")
_wanted: Final[list[None]] = []  # an entry for each block that is being executed


@contextmanager
def warm_starts() -> Generator[None]:
    """Within the block, Python programs that this process starts are warm, in whatever thread."""
    _wanted.append(None)
    try:
        yield
    finally:
        _wanted.pop()


class Program(NamedTuple):
    """What is to be run, as a command line says it.

    Args:
        arguments: What follows Python: a file, ``-m`` and a module, or ``-c`` and code; and their arguments.
        environment: Its variables.
        directory: Where it runs.
        is_unbuffered: Whether its output is written at once, as with ``-u``.
        takes_terminal: Whether its standard streams are its terminal.
    """

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    is_unbuffered: bool
    takes_terminal: bool


def take_terminal() -> None:
    """Make standard input the terminal of the process, which leaves the one it had."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class WarmPython:
    """The process that programs are forked from, as those see it that start them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection, theirs = socket.socketpair()
        self._variables = _read_at_start(os.environ)
        measured = ("COVERAGE_", "COV_")
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from tests import warm_start; warm_start.main()",
                    str(theirs.fileno()),
                ],
                env={name: value for name, value in os.environ.items() if not name.startswith(measured)},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def can_run(self, program: Program) -> bool:
        """Whether Python would begin for *program* as it has begun for this process."""
        known = _paths(os.environ)
        others = [entry for entry in _paths(program.environment) if entry not in known]
        changes_python = any(Path(entry, "sitecustomize.py").exists() for entry in others)
        return not changes_python and _read_at_start(program.environment) == self._variables

    def start(self, program: Program, streams: Sequence[int]) -> int:
        """Start *program* with *streams* as its standard streams; its process id."""
        data = json.dumps(program).encode()
        with self._lock:
            _reap_descendants(1)
            try:
                socket.send_fds(self._connection, [len(data).to_bytes(4, "big")], list(streams))
                self._connection.sendall(data)
                return int.from_bytes(_read(self._connection, 4), "big")
            finally:
                _reap_descendants(0)

    def close(self) -> None:
        """End it; what it has started goes on."""
        self._connection.close()
        self._process.wait(20)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_AT_START) and name not in _OF_ONE_PROGRAM
    }


def _paths(environment: Mapping[str, str]) -> list[str]:
    return [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _reap_descendants(whether: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, whether, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := connection.recv(size - len(data))):
            raise EOFError
        data += more
    return data


# --- Where programs are started


@contextmanager
def installed() -> Generator[None]:
    """Within the block, `warm_starts` has its effect."""
    if sys.platform != "linux" or os.environ.get("COLD"):
        yield
        return
    popen: Any = subprocess.Popen
    cold = popen._execute_child
    names = [*inspect.signature(cold).parameters][1:]
    python: WarmPython | None = None
    starting = threading.Lock()

    def execute_child(self: Any, *arguments: Any) -> None:
        nonlocal python
        given = dict(zip(names, arguments, strict=True))
        program = _program_of(given) if _wanted else None
        if program is not None:
            streams = [given["p2cread"], given["c2pwrite"], given["errwrite"]]
            streams = [own if stream == -1 else stream for own, stream in enumerate(streams)]
            with starting:
                python = python or WarmPython()
            if python.can_run(program) and any(map(os.isatty, streams)) == program.takes_terminal:
                self.pid = python.start(program, streams)
                self._child_created = True
                self._close_pipe_fds(*(given[name] for name in _PIPES))
                return
        cold(self, *arguments)

    popen._execute_child = execute_child
    try:
        yield
    finally:
        popen._execute_child = cold
        if python is not None:
            python.close()


_PIPES: Final = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
_ORDINARY: Final[Mapping[str, Any]] = {
    "executable": None,
    "pass_fds": (),
    "shell": False,
    "start_new_session": False,
}


def _program_of(given: Mapping[str, Any]) -> Program | None:
    """The program that `subprocess.Popen` was *given*, if it may be a warm one."""
    command: list[str] = given["args"]
    arguments = [os.fspath(argument) for argument in command]
    if given["executable"] == arguments[0]:
        given = {**given, "executable": None}
    if arguments.pop(0) != sys.executable or any(given[name] != usual for name, usual in _ORDINARY.items()):
        return None
    is_unbuffered = arguments[0] == "-u"
    if is_unbuffered:
        del arguments[0]
    if arguments[0] not in {"-m", "-c"} and not arguments[0].endswith(".py"):
        return None
    takes_terminal = given["preexec_fn"] is take_terminal
    if given["preexec_fn"] is not None and not takes_terminal:
        return None
    environment = dict(os.environ if given["env"] is None else given["env"])
    is_unbuffered = is_unbuffered or bool(environment.get("PYTHONUNBUFFERED"))
    directory = os.path.abspath(given["cwd"] or ".")
    return Program(arguments, environment, directory, is_unbuffered, takes_terminal)


# --- The process itself


def main() -> None:
    """Fork a process for each program that is told, until nobody is left to tell one."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):  # it is not on every system
            import_module(library)
    own = _paths(os.environ)
    path = [entry for entry in sys.path[1:] if entry not in own]
    gc.collect()
    gc.freeze()
    program = _next(connection)
    if program is not None:
        _run(program, path)


def _next(connection: socket.socket) -> Program | None:
    """In the forked process: what it is to run. In this one: ``None``, at the end."""
    while True:
        size, streams, _, _ = socket.recv_fds(connection, 4, 3)
        if not size:
            return None
        program = Program(*json.loads(_read(connection, int.from_bytes(size, "big"))))
        orphaned, tell_orphaned = os.pipe()
        told, tell = os.pipe()
        child = os.fork()
        if not child:
            grandchild = os.fork()
            if grandchild:
                os.write(tell, grandchild.to_bytes(4, "big"))
                os._exit(0)
            connection.close()
            for number in (tell_orphaned, told, tell):
                os.close(number)
            os.read(orphaned, 1)  # from here on its parent is who asked for it
            os.close(orphaned)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            return program
        answer = os.read(told, 4)
        os.waitpid(child, 0)
        for descriptor in (*streams, orphaned, tell_orphaned, told, tell):
            os.close(descriptor)
        connection.sendall(answer)


def _run(program: Program, path: Sequence[str]) -> None:
    """Run *program* as Python does what it finds on its command line."""
    os.chdir(program.directory)
    os.environ.clear()
    os.environ.update(program.environment)
    first, *rest = program.arguments
    own = _paths(os.environ)
    beside = {"-m": program.directory, "-c": ""}.get(first, os.path.dirname(os.path.realpath(first)))
    sys.path[:] = [beside, *own, *path]
    if program.takes_terminal:
        take_terminal()
        streams: list[Any] = [sys.stdin, sys.stdout, sys.stderr]
        for stream in streams:
            stream.reconfigure(line_buffering=True)
    if program.is_unbuffered:
        sys.stdout, sys.stderr = _unbuffered(1, sys.stdout), _unbuffered(2, sys.stderr)
    for name in ("tests", __name__):
        del sys.modules[name]  # the program may have a package of that name
    if os.environ.get("COVERAGE_PROCESS_START") or os.environ.get("COVERAGE_PROCESS_CONFIG"):
        import coverage

        coverage.process_startup()
    namespace = vars(sys.modules["__main__"])
    namespace.clear()
    namespace.update(
        __name__="__main__", __builtins__=builtins, __doc__=None, __package__=None, __spec__=None
    )
    if first == "-m":
        sys.argv[:] = rest
        run: Any = runpy
        run._run_module_as_main(rest[0])
    elif first == "-c":
        sys.argv[:] = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), namespace)  # noqa: S102 - as Python does
    else:
        sys.argv[:] = program.arguments
        file = os.path.abspath(first)
        namespace["__file__"] = file
        exec(compile(Path(file).read_bytes(), file, "exec"), namespace)  # noqa: S102 - as Python does


def _unbuffered(number: int, before: Any) -> io.TextIOWrapper:
    raw: Any = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(raw, before.encoding, before.errors, write_through=True)
