"""The table of the handshakes: whatever happens in whatever order, a connection ends with the right code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentserver._websocket.closing import (
    OPEN_STATES,
    SENDING_STATES,
    TRANSITIONS,
    Effect,
    Event,
    Handshakes,
    State,
)

HAPPENINGS = st.lists(st.tuples(st.sampled_from(list(Event)), st.sampled_from([1000, 1002, 4000, 4001])))
ORDER = [
    State.OPENING,
    State.OPEN,
    State.PAUSED,
    State.ANSWERING,
    State.FAILING,
    State.CLOSING,
    State.CLOSED,
    State.FAILED,
    State.GONE,
]


def accepted() -> Handshakes:
    handshakes = Handshakes()
    assert handshakes.on(Event.ACCEPTED) == ()
    return handshakes


@given(HAPPENINGS)
def test_at_most_one_close_frame_is_sent_and_no_message_behind_it(
    happenings: list[tuple[Event, int]],
) -> None:
    handshakes = Handshakes()
    sent = 0
    for event, code in happenings:
        effects = handshakes.on(event, code, code.to_bytes(2, "big"))
        sent += effects.count(Effect.SEND_CLOSE)
        assert sent <= 1
        assert not sent or handshakes.state not in SENDING_STATES
        assert Effect.SEND_CLOSE not in effects or handshakes.payload


@given(HAPPENINGS)
def test_a_state_is_never_gone_back_to_but_for_the_pauses(happenings: list[tuple[Event, int]]) -> None:
    handshakes = Handshakes()
    for event, code in happenings:
        before = handshakes.state
        handshakes.on(event, code)
        after = handshakes.state
        assert ORDER.index(after) >= ORDER.index(before) or (before, after) == (State.PAUSED, State.OPEN)


@given(HAPPENINGS)
def test_the_code_is_known_once_the_end_has_begun_and_changes_to_1006_alone(
    happenings: list[tuple[Event, int]],
) -> None:
    handshakes = Handshakes()
    known: int | None = None
    for event, code in happenings:
        handshakes.on(event, code)
        assert (handshakes.code is None) is (handshakes.state in (State.OPENING, *OPEN_STATES))
        assert known is None or handshakes.code in (known, 1006)
        known = handshakes.code


@given(HAPPENINGS)
def test_however_far_it_has_come_time_outs_end_it(happenings: list[tuple[Event, int]]) -> None:
    handshakes = accepted()
    for event, code in happenings:
        handshakes.on(event, code)
    if handshakes.state in OPEN_STATES:
        handshakes.on(Event.CLOSE, 1001, b"\x03\xe9")
    effects: list[Effect] = []
    for _ in range(2):
        effects.extend(handshakes.on(Event.TIMEOUT))
    assert handshakes.state is State.GONE or Effect.ABORT in effects
    handshakes.on(Event.LOST)
    assert handshakes.state is State.GONE


@given(HAPPENINGS)
def test_a_code_is_exchanged_only_where_a_close_of_the_client_came_or_it_broke_the_protocol(
    happenings: list[tuple[Event, int]],
) -> None:
    handshakes = accepted()
    seen: set[Event] = set()
    for event, code in happenings:
        if handshakes.state is not State.GONE:
            seen.add(event)
        handshakes.on(event, code)
    handshakes.on(Event.LOST)
    if not seen & {Event.CLOSE_RECEIVED, Event.BROKEN}:
        assert handshakes.code == 1006


@pytest.mark.parametrize(
    ("happenings", "code", "effects"),
    [
        (
            [(Event.CLOSE, 4000), (Event.CLOSE_RECEIVED, 1000), (Event.LOST, 0)],
            4000,
            [Effect.SEND_CLOSE, Effect.CLOSE_TRANSPORT],
        ),
        (
            [(Event.CLOSE_RECEIVED, 4321), (Event.DRAINED, 0), (Event.LOST, 0)],
            4321,
            [Effect.SEND_CLOSE, Effect.CLOSE_TRANSPORT],
        ),
        (
            [(Event.CLOSE_RECEIVED, 4321), (Event.CLOSE, 1000), (Event.LOST, 0)],
            4321,
            [Effect.SEND_CLOSE, Effect.CLOSE_TRANSPORT],
        ),
        ([(Event.CLOSE_RECEIVED, 4321), (Event.LOST, 0)], 4321, []),
        (
            [(Event.BROKEN, 1002), (Event.DRAINED, 0), (Event.LOST, 0)],
            1002,
            [Effect.SEND_CLOSE, Effect.END_STREAM],
        ),
        ([(Event.CLOSE, 1000), (Event.LOST, 0)], 1006, [Effect.SEND_CLOSE]),
        ([(Event.CLOSE, 1000), (Event.BROKEN, 1002)], 1006, [Effect.SEND_CLOSE, Effect.END_STREAM]),
        ([(Event.CLOSE, 1000), (Event.TIMEOUT, 0)], 1006, [Effect.SEND_CLOSE, Effect.ABORT]),
        ([(Event.LOST, 0)], 1006, []),
        (
            [(Event.FULL, 0), (Event.CLOSE, 1001), (Event.CLOSE_RECEIVED, 1001)],
            1001,
            [Effect.STOP_READING, Effect.SEND_CLOSE, Effect.GO_ON_READING, Effect.CLOSE_TRANSPORT],
        ),
        ([(Event.FULL, 0), (Event.READ, 0)], None, [Effect.STOP_READING, Effect.GO_ON_READING]),
    ],
)
def test_each_way_to_the_end_has_its_code_and_what_must_be_done(
    happenings: list[tuple[Event, int]], code: int | None, effects: list[Effect]
) -> None:
    handshakes = accepted()
    done = [effect for event, given in happenings for effect in handshakes.on(event, given, b"..")]
    assert (handshakes.code, done) == (code, effects)


def test_a_connection_that_is_lost_before_its_101_is_1006() -> None:
    handshakes = Handshakes()
    handshakes.on(Event.LOST)
    assert (handshakes.state, handshakes.code) == (State.GONE, 1006)


@pytest.mark.parametrize("state", [state for state in State if state is not State.GONE])
def test_every_state_is_reached_and_left(state: State) -> None:
    assert state is State.OPENING or any(following.state is state for following in TRANSITIONS.values())
    assert TRANSITIONS[state, Event.LOST].state is State.GONE


def test_what_is_gone_stays_gone() -> None:
    assert not [before for before, _ in TRANSITIONS if before is State.GONE]
