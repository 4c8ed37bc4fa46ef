"""A pytest plugin for aiohttp's tests: it puts a server of ours under them and writes down what came out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

_RANK = ("passed", "xfailed", "skipped", "failed")
OUTCOMES: pytest.StashKey[dict[str, str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this suite."""
    group = parser.getgroup("compliance")
    group.addoption(
        "--server", choices=("aiohttp", "ours"), default="ours", help="whose server the tests run on"
    )
    group.addoption("--outcomes", type=Path, help="a file for the outcome of each test, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with no outcome."""
    config.pluginmanager.register(Outcomes(config.getoption("--outcomes")))


class Outcomes:
    """The outcome of each test, the worst of its phases.

    Args:
        path: Where they are written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of one phase of one test."""
        outcome = "xfailed" if hasattr(report, "wasxfail") and report.skipped else str(report.outcome)
        before = self._outcomes.get(report.nodeid, "passed")
        self._outcomes[report.nodeid] = max(outcome, before, key=_RANK.index)

    def pytest_sessionfinish(self) -> None:
        """Write them down."""
        if self._path is not None:
            self._path.write_text(json.dumps(self._outcomes, indent=1))


@pytest.fixture(autouse=True, scope="session")
def server_under_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have aiohttp's runners and test servers make the server that was asked for."""
    if request.config.getoption("--server") == "aiohttp":
        yield
        return
    from compliance.aiohttp.adapter import SuiteServer

    with (
        mock.patch("aiohttp.web_app.Server", SuiteServer),
        mock.patch("aiohttp.test_utils.Server", SuiteServer),
        mock.patch("aiohttp.web.Server", SuiteServer),
    ):
        yield
