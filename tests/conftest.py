"""Nothing in a test leaves the machine: any process of the run that tries fails the run."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.stage import Stage
from tests.warm_start import installed

GUARD = Path(__file__).parent / "loopback_only"


REPORT = "AGENTSERVER_REFUSED_CONNECTIONS"


def pytest_configure(config: pytest.Config) -> None:
    # What a shell starts in the background ignores Ctrl-C, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_path(str(GUARD / "sitecustomize.py"))  # in this process Python has started long ago
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(GUARD), os.environ.get("PYTHONPATH"))))
    starting = ExitStack()
    starting.enter_context(installed())
    config.add_cleanup(starting.close)
    if not is_worker(config):  # those of a parallel run write to the report of the one that started them
        handle, report = tempfile.mkstemp(prefix="refused-connections-")
        os.close(handle)
        os.environ[REPORT] = report


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of the processes that pytest-xdist shares the tests out to."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(trylast=True)  # after pytest-xdist's: its workers have ended by then
def pytest_sessionfinish(session: pytest.Session) -> None:
    if is_worker(session.config):
        return
    report = Path(os.environ[REPORT])
    refused = report.read_text()
    report.unlink()
    if refused:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        sys.stderr.write(f"\nconnections to other machines were refused:\n{refused}")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage, None, None]:
    """A process that runs programs one after another."""
    made = Stage(tmp_path_factory.mktemp("stage"))
    try:
        yield made
    finally:
        made.close()
