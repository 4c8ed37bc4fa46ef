"""The state tables of both ends, by pushing frames through them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType] - Hypothesis has no types for it
)

from agentserver.actions._client_protocol import ClientProtocol, Notice, Progress, QueryAnswer
from agentserver.actions._codec import decode_message, encode_action, encode_message
from agentserver.actions._server_protocol import Invocation, Query, ServerProtocol, Start
from agentserver.actions._state import OrderError, Phase, Respond
from agentserver.actions.frames import (
    CancelInvocation,
    ErrorFrame,
    GetInvocation,
    InvocationFrame,
    Invoke,
    Ping,
    Pong,
    Result,
    ServerFrame,
    StreamChunk,
    StreamEnd,
)


def text(frame: ServerFrame) -> str:
    return encode_message(frame).decode()


def read(data: bytes) -> InvocationFrame:
    frame = decode_message(data.decode())
    assert not isinstance(frame, (Ping, Pong))
    return frame


def invoke(**members: Any) -> str:
    return json.dumps({"action": "invoke", "payload": {}, **members})


def started(server: ServerProtocol, **members: Any) -> Start:
    event = server.receive(invoke(**members))
    assert isinstance(event, Start)
    return event


def refused(event: object) -> ErrorFrame:
    assert isinstance(event, Respond)
    assert isinstance(event.frame, ErrorFrame)
    return event.frame


# --- One invocation on the server

STEPS = ("chunk", "result", "end", "error", "cancel")
ORDERLY = re.compile(r"c*(r|e|x)?")


def take(invocation: Invocation, step: str) -> list[InvocationFrame]:
    if step == "chunk":
        return [read(invocation.chunk(1))]
    if step == "result":
        return [read(invocation.result(1))]
    if step == "end":
        return [read(invocation.end())]
    if step == "error":
        return [read(invocation.error("code", "message"))]
    invocation.cancel()
    return []


def spelled(frames: Sequence[InvocationFrame]) -> str:
    return "".join(
        "c"
        if isinstance(f, StreamChunk)
        else "r"
        if isinstance(f, Result)
        else "e"
        if isinstance(f, StreamEnd)
        else "x"
        for f in frames
    )


@given(st.lists(st.sampled_from(STEPS)))
def test_whatever_a_server_tries_only_an_orderly_sequence_gets_out(steps: list[str]) -> None:
    invocation = Invocation("i", "s")
    frames: list[InvocationFrame] = []
    cancelled = False
    for step in steps:
        try:
            frames += take(invocation, step)
        except OrderError:
            continue
        cancelled = cancelled or (step == "cancel" and invocation.phase is Phase.CANCELLING)
    assert ORDERLY.fullmatch(spelled(frames))
    assert (invocation.phase is Phase.ENDED) == (spelled(frames)[-1:] in {"r", "e", "x"})
    if cancelled and invocation.phase is Phase.ENDED:
        last = frames[-1]
        assert isinstance(last, ErrorFrame)
        assert last.code == "cancelled"


@pytest.mark.parametrize("step", ["result", "end", "error"])
def test_nothing_follows_the_last_frame(step: str) -> None:
    invocation = Invocation("i", "s")
    take(invocation, step)
    for later in ("chunk", "result", "end", "error"):
        with pytest.raises(OrderError, match="may not follow when the invocation is ended"):
            take(invocation, later)
    assert not invocation.cancel()


def test_a_payload_that_is_no_json_changes_nothing() -> None:
    invocation = Invocation("i", "s")
    for write in (invocation.chunk, invocation.result):
        with pytest.raises(TypeError):
            write(object())
    assert read(invocation.error("c", "m")) == ErrorFrame("c", "m", "i", "s")


def test_a_result_may_not_follow_a_chunk() -> None:
    invocation = Invocation("i", "s")
    invocation.chunk(1)
    with pytest.raises(OrderError, match="Result may not follow when the invocation is streaming"):
        invocation.result(1)


@pytest.mark.parametrize("step", ["result", "end", "error"])
@pytest.mark.parametrize("chunks", [0, 1])
def test_a_cancelled_invocation_ends_as_cancelled_whatever_it_does(step: str, chunks: int) -> None:
    invocation = Invocation("i", "s")
    for _ in range(chunks):
        invocation.chunk(1)
    assert invocation.cancel()
    invocation.chunk(1)
    assert take(invocation, step) == [ErrorFrame("cancelled", "The invocation was cancelled", "i", "s")]


# --- The server's end of a connection


def test_an_invoke_with_ids_keeps_them() -> None:
    event = started(ServerProtocol(), invocation_id="i", session_id="s", payload={"a": 1})
    assert (event.invocation.invocation_id, event.invocation.session_id, event.payload) == (
        "i",
        "s",
        {"a": 1},
    )


def test_an_invoke_without_ids_gets_new_ones() -> None:
    names = itertools.count()
    event = started(ServerProtocol(new_id=lambda: f"new-{next(names)}"))
    assert (event.invocation.invocation_id, event.invocation.session_id) == ("new-0", "new-1")


def test_two_invokes_without_a_session_do_not_share_one() -> None:
    server = ServerProtocol()
    assert started(server).invocation.session_id != started(server).invocation.session_id


def test_the_message_s_session_goes_before_the_connection_s() -> None:
    server = ServerProtocol(session_id="given")
    assert started(server).invocation.session_id == "given"
    assert started(server, session_id="mine").invocation.session_id == "mine"
    assert started(server, session_id="not an id").invocation.session_id == "given"


def test_an_id_in_flight_is_refused_without_ending_the_invocation_that_has_it() -> None:
    server = ServerProtocol()
    event = started(server, invocation_id="i")
    error = refused(server.receive(invoke(invocation_id="i", session_id="s")))
    assert (error.code, error.invocation_id, error.session_id) == ("invalid_request", "i", None)
    assert read(event.invocation.end()) == StreamEnd("i", event.invocation.session_id)


def test_an_id_is_free_again_when_its_invocation_was_released() -> None:
    server = ServerProtocol()
    event = started(server, invocation_id="i")
    event.invocation.end()
    refused(server.receive(invoke(invocation_id="i")))
    server.release(event)
    assert started(server, invocation_id="i").invocation.phase is Phase.WAITING


def test_beyond_the_limit_an_invoke_is_refused_and_after_a_release_it_is_not() -> None:
    server = ServerProtocol(limit=2)
    first, _ = started(server), started(server)
    error = refused(server.receive(invoke(invocation_id="i", session_id="s")))
    assert (error.code, error.invocation_id, error.session_id) == ("too_many_requests", "i", "s")
    server.release(first)
    started(server)


def test_at_the_limit_a_cancel_still_goes_through() -> None:
    server = ServerProtocol(limit=1)
    started(server, invocation_id="i", session_id="s")
    assert server.receive(encode_action(CancelInvocation("i")).decode()) == Query(CancelInvocation("i"), "s")


def test_queries_have_a_limit_of_their_own() -> None:
    server = ServerProtocol(limit=1)
    query = server.receive(encode_action(GetInvocation("i")).decode())
    assert isinstance(query, Query)
    error = refused(server.receive(encode_action(CancelInvocation("i")).decode()))
    assert (error.code, error.invocation_id, error.session_id) == ("too_many_requests", "i", None)
    server.release(query)
    assert isinstance(server.receive(encode_action(CancelInvocation("i")).decode()), Query)


def test_a_query_s_answers_carry_no_session_id() -> None:
    query = Query(GetInvocation("i"), "s")
    assert read(query.result(1)) == Result("i", 1)
    assert read(query.error("c", "m")) == ErrorFrame("c", "m", "i")


def test_a_ping_is_answered_and_a_pong_is_not() -> None:
    server = ServerProtocol()
    assert server.receive('{"action":"ping"}') == Respond(Pong())
    assert server.receive('{"action":"pong"}') is None


def test_a_binary_message_is_refused() -> None:
    assert refused(ServerProtocol().receive_binary()).code == "invalid_message"


def test_a_bad_frame_is_answered_with_the_id_it_named() -> None:
    error = refused(ServerProtocol().receive('{"action":"invoke","invocation_id":"i","payload":1}'))
    assert (error.code, error.invocation_id, error.session_id) == ("invalid_request", "i", None)


payloads: list[Any] = [{}, [], None, "x"]
actionish: st.SearchStrategy[str] = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["invoke", "get_invocation", "cancel_invocation", "ping", "pong", "?", 1]),
        "invocation_id": st.sampled_from(["a", "b", "c", "", 1, None]),
        "session_id": st.sampled_from(["s", "", 1, None]),
        "payload": st.sampled_from(payloads),
    },
).map(json.dumps)


@given(st.lists(actionish | st.text()))
def test_no_sequence_of_texts_breaks_the_server_s_end(texts: list[str]) -> None:
    server = ServerProtocol(limit=2)
    for message in texts:
        event = server.receive(message)
        assert len(server.invocations) <= 2
        if isinstance(event, Respond):
            assert decode_message(text(event.frame)) == event.frame


# --- The client's end


def test_a_client_s_invoke_always_has_an_id() -> None:
    client = ClientProtocol(new_id=lambda: "new")
    assert client.invoke({"a": 1}) == Invoke({"a": 1}, "new")
    assert client.invoke({}, invocation_id="i", session_id="s") == Invoke({}, "i", "s")


def test_a_client_refuses_ids_that_the_server_would_ignore() -> None:
    client = ClientProtocol()
    for bad in ("", "a b", "x" * 257):
        with pytest.raises(ValueError, match="invocation_id must be 1 to 256 letters"):
            client.invoke({}, invocation_id=bad)
        with pytest.raises(ValueError, match="session_id must be 1 to 256 letters"):
            client.invoke({}, session_id=bad)
        with pytest.raises(ValueError, match="invocation_id must be 1 to 256 letters"):
            client.get(bad)
        with pytest.raises(ValueError, match="invocation_id must be 1 to 256 letters"):
            client.cancel(bad)


def test_a_client_does_not_open_one_invocation_twice() -> None:
    client = ClientProtocol()
    client.invoke({}, invocation_id="i")
    with pytest.raises(ValueError, match="still open"):
        client.invoke({}, invocation_id="i")
    client.receive(text(Result("i", 1, "s")))
    client.invoke({}, invocation_id="i")


def test_a_stream_comes_in_piece_by_piece() -> None:
    client = ClientProtocol()
    client.invoke({}, invocation_id="i")
    frames: list[InvocationFrame] = [StreamChunk("i", "s", 1), StreamChunk("i", "s", 2), StreamEnd("i", "s")]
    events = [client.receive(text(frame)) for frame in frames]
    assert events == [Progress(frame) for frame in frames]
    assert [event.last for event in events if isinstance(event, Progress)] == [False, False, True]


def test_a_query_is_told_from_the_invocation_by_the_missing_session() -> None:
    client = ClientProtocol()
    client.invoke({}, invocation_id="i")
    client.get("i")
    client.cancel("i")
    answers: list[ServerFrame] = [
        Result("i", {"status": "running"}),
        ErrorFrame("cancelled", "m", "i", "s"),
        Result("i", 1),
    ]
    assert [client.receive(text(frame)) for frame in answers] == [
        QueryAnswer(GetInvocation("i"), Result("i", {"status": "running"})),
        Progress(ErrorFrame("cancelled", "m", "i", "s")),
        QueryAnswer(CancelInvocation("i"), Result("i", 1)),
    ]


def test_a_refused_invoke_without_a_session_ends_it_when_nothing_was_asked() -> None:
    client = ClientProtocol()
    client.invoke({}, invocation_id="i")
    error = ErrorFrame("invalid_request", "m", "i")
    assert client.receive(text(error)) == Progress(error)


def test_an_error_that_names_nothing_known_is_a_notice() -> None:
    client = ClientProtocol()
    for error in (ErrorFrame("invalid_json", "m"), ErrorFrame("not_found", "m", "nobody")):
        assert client.receive(text(error)) == Notice(error)


def test_a_client_answers_a_ping_and_takes_a_pong() -> None:
    client = ClientProtocol()
    assert client.receive(text(Ping())) == Respond(Pong())
    assert client.receive(text(Pong())) is None


@pytest.mark.parametrize(
    "frames",
    [
        [Result("other", 1)],
        [StreamChunk("other", "s", 1)],
        [StreamChunk("i", "s", 1), Result("i", 1, "s")],
        [StreamEnd("i", "s"), StreamEnd("i", "s")],
        [Result("i", 1, "s"), StreamChunk("i", "s", 1)],
    ],
)
def test_a_client_notices_a_frame_that_may_not_come(frames: list[ServerFrame]) -> None:
    client = ClientProtocol()
    client.invoke({}, invocation_id="i")
    *before, wrong = frames
    for frame in before:
        client.receive(text(frame))
    with pytest.raises(OrderError):
        client.receive(text(wrong))


# --- Both ends together


class TwoEnds(RuleBasedStateMachine):
    """Any interleaving of a client's wishes and a server's deeds: the client's table accepts it all."""

    def __init__(self) -> None:
        super().__init__()
        self.client = ClientProtocol()
        self.server = ServerProtocol(limit=3)
        self.names: Iterator[int] = itertools.count()
        self.running: list[Start] = []
        self.asked: list[Query] = []
        self.seen: dict[str, list[InvocationFrame]] = {}
        self.answers = 0

    def to_client(self, frame: ServerFrame) -> None:
        event = self.client.receive(text(frame))
        assert not isinstance(event, Notice)
        if isinstance(event, Progress):
            assert event.frame.invocation_id
            self.seen[event.frame.invocation_id].append(event.frame)
        if isinstance(event, QueryAnswer):
            self.answers += 1

    def to_server(self, frame: Invoke | GetInvocation | CancelInvocation | Ping) -> None:
        event = self.server.receive(encode_action(frame).decode())
        if isinstance(event, Start):
            self.running.append(event)
        elif isinstance(event, Query):
            self.asked.append(event)
        elif event is not None:
            self.to_client(event.frame)

    def finish(self, start: Start, frame: InvocationFrame) -> None:
        self.running.remove(start)
        self.to_client(frame)
        self.server.release(start)

    @rule()
    def invoke(self) -> None:
        frame = self.client.invoke({}, invocation_id=f"i{next(self.names)}")
        self.seen[str(frame.invocation_id)] = []
        self.to_server(frame)

    @rule()
    def ping(self) -> None:
        self.to_server(Ping())

    @rule(which=st.integers(0, 4), cancel=st.booleans())
    def ask(self, which: int, cancel: bool) -> None:
        invocation_id = f"i{which}"
        self.to_server(self.client.cancel(invocation_id) if cancel else self.client.get(invocation_id))

    @precondition(lambda self: self.asked)
    @rule(found=st.booleans())
    def answer_the_oldest(self, found: bool) -> None:
        query = self.asked.pop(0)
        running = self.server.invocations.get(query.frame.invocation_id)
        if running and isinstance(query.frame, CancelInvocation):
            running.cancel()
        self.to_client(read(query.result(1) if found else query.error("not_found", "m")))
        self.server.release(query)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def stream(self, data: st.DataObject) -> None:
        start = data.draw(st.sampled_from(self.running))
        self.to_client(read(start.invocation.chunk(1)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failing=st.booleans())
    def end(self, data: st.DataObject, failing: bool) -> None:
        start = data.draw(st.sampled_from(self.running))
        once = start.invocation.phase is Phase.WAITING
        invocation = start.invocation
        ending = invocation.error("c", "m") if failing else invocation.result(1) if once else invocation.end()
        self.finish(start, read(ending))

    @invariant()
    def every_invocation_is_orderly_and_bounded(self) -> None:
        assert len(self.server.invocations) <= 3
        for frames in self.seen.values():
            assert ORDERLY.fullmatch(spelled(frames))


def test_the_client_s_table_accepts_all_that_the_server_s_lets_out() -> None:
    run: Any = run_state_machine_as_test  # without types in the last hypothesis for Python 3.10
    run(TwoEnds, settings=settings(max_examples=60, stateful_step_count=30))
