"""Nothing in a test leaves the machine: any process of the run that tries fails the run."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import tempfile
from pathlib import Path

import pytest

GUARD = Path(__file__).parent / "loopback_only"


def pytest_configure(config: pytest.Config) -> None:
    # What a shell starts in the background ignores Ctrl-C, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_path(str(GUARD / "sitecustomize.py"))  # in this process Python has started long ago
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(GUARD), os.environ.get("PYTHONPATH"))))
    handle, report = tempfile.mkstemp(prefix="refused-connections-")
    os.close(handle)
    os.environ["AGENTSERVER_REFUSED_CONNECTIONS"] = report


def pytest_sessionfinish(session: pytest.Session) -> None:
    report = Path(os.environ["AGENTSERVER_REFUSED_CONNECTIONS"])
    refused = report.read_text()
    report.unlink()
    if refused:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        sys.stderr.write(f"\nconnections to other machines were refused:\n{refused}")
