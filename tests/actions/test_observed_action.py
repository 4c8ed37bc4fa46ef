"""What the log and telemetry see of an action."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress

import pytest

from agentserver import ActionContext, InvocationError
from agentserver._telemetry.correlation import CurrentRequest, correlation, current_request
from agentserver._telemetry.observer import RequestEnd, Traffic
from agentserver.actions._server_connection import ObservedAction

CONTEXT = ActionContext(invocation_id="i", session_id="s")
IDS = {"invocation_id": "i", "session_id": "s"}


class Seen:
    """The observation of a connection, and of the actions on it."""

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.begun: list[tuple[str, str, str]] = []
        self.ended: list[tuple[BaseException | None, str]] = []

    def identify(self, operation: str, ids: Mapping[str, str]) -> str:
        return ""

    def action(self, operation: str, invocation_id: str, session_id: str) -> Seen.Action:
        self.begun.append((operation, invocation_id, session_id))
        return Seen.Action(self)

    def end(self, end: RequestEnd) -> None: ...

    class Action:
        def __init__(self, seen: Seen) -> None:
            self.seen = seen

        def end(self, error: BaseException | None = None, code: str = "") -> None:
            self.seen.ended.append((error, code))


@pytest.fixture
def seen() -> Generator[Seen]:
    seen = Seen()
    connection = CurrentRequest("r", {})
    connection.correlation = {"invocation_id": "the connection's", "session_id": "the connection's"}
    connection.observation = seen
    token = current_request.set(connection)
    yield seen
    current_request.reset(token)


def test_log_records_of_an_action_carry_its_ids_and_the_connection_s_request_id(seen: Seen) -> None:
    with ObservedAction("invoke", CONTEXT):
        assert correlation() == {**IDS, "request_id": "r"}
    assert seen.begun == [("invoke", "i", "s")]
    assert seen.ended == [(None, "")]


@pytest.mark.parametrize(
    ("error", "code"), [(InvocationError("gone", "It is gone"), "gone"), (OSError(), "internal_error")]
)
def test_a_failure_ends_the_action_with_its_error_and_code(seen: Seen, error: Exception, code: str) -> None:
    with ObservedAction("get_invocation", CONTEXT) as observation:
        assert observation.failed(error).code == code
    assert seen.ended == [(error, code)]


def test_a_cancelled_action_and_one_whose_connection_is_gone_end_as_cancelled(seen: Seen) -> None:
    with ObservedAction("invoke", CONTEXT) as observation:
        observation.cancelled()
    with suppress(ConnectionError), ObservedAction("invoke", CONTEXT):
        raise ConnectionError
    assert seen.ended == [(None, "cancelled")] * 2


def test_outside_a_server_there_is_nothing_to_observe() -> None:
    with ObservedAction("invoke", CONTEXT):
        assert correlation() == {}
