"""The rules of how long a client is waited for, look by look."""

from __future__ import annotations

import pytest

from agentserver import AgentHostOptions
from agentserver._http.deadlines import Action, ClientDeadlines, Progress

IDLE, HEAD, BODY, WRITE = 75.0, 30.0, 60.0, 20.0
DEADLINES = ClientDeadlines(
    AgentHostOptions(keepalive_timeout=IDLE, header_timeout=HEAD, body_timeout=BODY, write_timeout=WRITE)
)
SERVING = Progress(idle_since=None)
READING = SERVING._replace(awaits_body=True)
SENDING = SERVING._replace(unsent=1000)


def looks(*seen: tuple[float, Progress]) -> list[Action]:
    """The actions of a series of looks, each of which knows what the one before has left."""
    actions: list[Action] = []
    before = seen[0][1].before
    for now, progress in seen:
        action, before = DEADLINES.check(now, progress._replace(before=before))
        actions.append(action)
    return actions


NOTHING = Action.NOTHING


@pytest.mark.parametrize(
    ("progress", "limit", "action"),
    [
        (Progress(idle_since=0), IDLE, Action.CLOSE),
        (Progress(idle_since=0, patience=2), 2, Action.CLOSE),
        (Progress(idle_since=-9, head_since=0), HEAD, Action.REFUSE_HEAD),
        (Progress(idle_since=-9, head_since=0, patience=2), 2, Action.REFUSE_HEAD),
        (READING, BODY, Action.FAIL_BODY),
        (SENDING, WRITE, Action.CUT_OFF),
        (SENDING._replace(is_closing=True), WRITE, Action.CUT_OFF),
        (READING._replace(unsent=1), WRITE, Action.CUT_OFF),
    ],
)
def test_a_deadline_is_over_after_its_time_and_not_before(
    progress: Progress, limit: float, action: Action
) -> None:
    assert looks((0, progress), (limit, progress), (limit + 0.1, progress)) == [NOTHING, NOTHING, action]


@pytest.mark.parametrize(
    "progress",
    [
        SERVING,
        SENDING._replace(is_writable=True),
        Progress(idle_since=0, is_closing=True),
        Progress(idle_since=0, head_since=0, is_closing=True),
        READING._replace(is_closing=True),
    ],
)
def test_who_is_not_waited_for_is_never_late(progress: Progress) -> None:
    assert looks((0, progress), (1e6, progress)) == [NOTHING, NOTHING]


def test_a_byte_of_a_body_begins_its_time_anew() -> None:
    heard = READING._replace(has_heard=True)
    assert looks((0, READING), (59, heard), (118, READING), (120, READING)) == [
        NOTHING,
        NOTHING,
        NOTHING,
        Action.FAIL_BODY,
    ]


def test_a_body_that_was_not_read_meanwhile_has_its_time_from_then_on() -> None:
    assert looks((0, READING), (50, SERVING), (61, READING), (120, READING)) == [NOTHING] * 4


def test_a_client_that_reads_at_all_is_not_cut_off() -> None:
    slow = [(19.0 * step, SENDING._replace(unsent=1000 - step)) for step in range(100)]
    assert looks(*slow) == [NOTHING] * 100


def test_a_client_that_gets_more_than_it_reads_is_cut_off() -> None:
    more = [(5.0 * step, SENDING._replace(unsent=1000 + step)) for step in range(6)]
    assert looks(*more)[-1] is Action.CUT_OFF


def test_0_is_no_limit() -> None:
    deadlines = ClientDeadlines(AgentHostOptions(header_timeout=0, body_timeout=0, write_timeout=0))
    for progress in (Progress(idle_since=0, head_since=0), READING, SENDING):
        before = deadlines.check(0, progress).after
        assert deadlines.check(1e9, progress._replace(before=before)).action is NOTHING


@pytest.mark.parametrize(("seconds", "interval"), [(0.0, 5.0), (0.4, 0.1), (75.0, 5.0)])
def test_looks_are_close_enough_for_the_shortest_time_and_not_closer(seconds: float, interval: float) -> None:
    assert ClientDeadlines(AgentHostOptions(keepalive_timeout=seconds)).interval == pytest.approx(interval)
