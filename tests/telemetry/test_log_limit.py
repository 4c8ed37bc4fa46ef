"""A failure that repeats is told once a minute, on one line if it is an exporter's."""

from __future__ import annotations

import logging

import pytest

from agentserver._telemetry.log_limit import ErrorLog, OncePerInterval


def test_an_error_is_told_with_its_traceback_and_not_again_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = ErrorLog(logging.getLogger("test.errors"))
    for _ in range(3):
        errors.report("it failed", ValueError("why"))
    errors.report("something else failed", ValueError("why"))
    assert [record.message for record in caplog.records] == ["it failed", "something else failed"]
    assert caplog.records[0].exc_info


def test_an_error_is_told_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    errors = ErrorLog(logging.getLogger("test.errors"), quiet_seconds=0.0)
    errors.report("it failed", ValueError("why"))
    errors.report("it failed", ValueError("why"))
    assert len(caplog.records) == 2


def test_made_up_sentences_do_not_fill_memory(caplog: pytest.LogCaptureFixture) -> None:
    errors = ErrorLog(logging.getLogger("test.errors"))
    for number in range(5000):
        errors.report(f"span {number} failed", ValueError("why"))
    assert len(errors._told_at) <= 1000


def test_an_exporters_logger_says_one_thing_on_one_line_and_is_then_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    talker = logging.getLogger("test.exporter")
    talker.addFilter(OncePerInterval())
    try:
        for _ in range(3):
            talker.error("Exception while exporting %s.", "Span", exc_info=ConnectionError("nobody listens"))
        assert not talker.isEnabledFor(logging.ERROR)
    finally:
        talker.setLevel(logging.NOTSET)
    (record,) = caplog.records
    assert record.getMessage() == "Exception while exporting Span.: ConnectionError: nobody listens"
    assert record.exc_info is None
