"""Frames to text and back."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentserver.actions._codec import (
    chunk_encoder,
    decode_action,
    decode_message,
    encode_action,
    encode_message,
)
from agentserver.actions.frames import (
    CancelInvocation,
    ClientFrame,
    ErrorFrame,
    FrameError,
    GetInvocation,
    Invoke,
    Ping,
    Pong,
    Result,
    ServerFrame,
    StreamChunk,
    StreamEnd,
)
from agentserver.wire import ID_PATTERN

ids = st.from_regex(ID_PATTERN, fullmatch=True)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
json_objects = st.dictionaries(st.text(), json_values)
maybe_ids = st.none() | ids
client_frames: st.SearchStrategy[ClientFrame] = st.one_of(
    st.builds(Invoke, json_objects, maybe_ids, maybe_ids),
    st.builds(GetInvocation, ids),
    st.builds(CancelInvocation, ids),
    st.just(Ping()),
    st.just(Pong()),
)
server_frames: st.SearchStrategy[ServerFrame] = st.one_of(
    st.builds(Result, ids, json_values, maybe_ids),
    st.builds(StreamChunk, ids, ids, json_values),
    st.builds(StreamEnd, ids, ids),
    st.builds(ErrorFrame, st.text(), st.text(), maybe_ids, maybe_ids),
    st.just(Ping()),
    st.just(Pong()),
)


@given(client_frames)
def test_a_client_frame_is_read_as_it_was_written(frame: ClientFrame) -> None:
    assert decode_action(encode_action(frame).decode()) == frame


@given(server_frames)
def test_a_server_frame_is_read_as_it_was_written(frame: ServerFrame) -> None:
    assert decode_message(encode_message(frame).decode()) == frame


@given(ids, ids, json_values | st.just("\ud800"))
def test_a_stream_s_chunks_are_written_as_any_other_frame(
    invocation_id: str, session_id: str, payload: Any
) -> None:
    expected = encode_message(StreamChunk(invocation_id, session_id, payload))
    assert chunk_encoder(invocation_id, session_id)(payload) == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            Result("i", {"a": 1}, "s"),
            '{"type":"result","invocation_id":"i","session_id":"s","payload":{"a":1}}',
        ),
        (Result("i", None), '{"type":"result","invocation_id":"i","payload":null}'),
        (
            StreamChunk("i", "s", "é"),
            '{"type":"stream_chunk","invocation_id":"i","session_id":"s","payload":"é"}',
        ),
        (StreamEnd("i", "s"), '{"type":"stream_end","invocation_id":"i","session_id":"s"}'),
        (ErrorFrame("c", "m"), '{"type":"error","error":{"code":"c","message":"m"}}'),
        (
            ErrorFrame("c", "m", "i", "s"),
            '{"type":"error","invocation_id":"i","session_id":"s","error":{"code":"c","message":"m"}}',
        ),
        (Ping(), '{"type":"ping"}'),
        (Pong(), '{"type":"pong"}'),
    ],
)
def test_a_server_frame_is_written_as_the_contract_says(frame: ServerFrame, expected: str) -> None:
    assert encode_message(frame).decode() == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (Invoke({}), '{"action":"invoke","payload":{}}'),
        (Invoke({}, "i", "s"), '{"action":"invoke","invocation_id":"i","session_id":"s","payload":{}}'),
        (GetInvocation("i"), '{"action":"get_invocation","invocation_id":"i"}'),
        (CancelInvocation("i"), '{"action":"cancel_invocation","invocation_id":"i"}'),
        (Ping(), '{"action":"ping"}'),
        (Pong(), '{"action":"pong"}'),
    ],
)
def test_a_client_frame_is_written_as_the_contract_says(frame: ClientFrame, expected: str) -> None:
    assert encode_action(frame).decode() == expected


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "invalid_json", "The message is not valid JSON"),
        ("hello", "invalid_json", "The message is not valid JSON"),
        ('{"action":"ping"} x', "invalid_json", "The message is not valid JSON"),
        ("\ufeff{}", "invalid_json", "The message is not valid JSON"),
        ('{"action":"ping","a":NaN}', "invalid_json", "NaN and Infinity are not valid JSON"),
        ('{"action":"ping","a":-Infinity}', "invalid_json", "NaN and Infinity are not valid JSON"),
        ('{"action":"ping","a":1e999}', "invalid_json", "The JSON has a number that is too large"),
        ('{"a":%s}' % ("9" * 5000), "invalid_json", "The JSON has a number that is too long"),
        ('{"action":"ping","action":"pong"}', "invalid_json", "The JSON has an object that repeats a name"),
        ("[" * 5_000_000, "invalid_json", "The JSON is nested too deeply"),
        ('{"a":' * 200_000 + "1" + "}" * 200_000, "invalid_json", "The JSON is nested too deeply"),
        ("[]", "invalid_message", "The message must be a JSON object"),
        ("null", "invalid_message", "The message must be a JSON object"),
        ('"ping"', "invalid_message", "The message must be a JSON object"),
        ('{"action":"invoke"}', "invalid_request", "payload is required"),
        ('{"action":"invoke","payload":null}', "invalid_request", "payload must be an object"),
        ('{"action":"invoke","payload":[{}]}', "invalid_request", "payload must be an object"),
        ('{"action":"get_invocation"}', "invalid_request", "invocation_id is required"),
        ('{"action":"cancel_invocation"}', "invalid_request", "invocation_id is required"),
        (
            '{"action":"get_invocation","invocation_id":7}',
            "invalid_request",
            "invocation_id is required",
        ),
        (
            '{"action":"get_invocation","invocation_id":"a b"}',
            "invalid_request",
            "invocation_id is required",
        ),
    ],
    ids=range(21),
)
def test_a_text_that_is_no_action_is_refused_with_code_and_reason(text: str, code: str, message: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode_action(text)
    assert (caught.value.code, caught.value.message) == (code, message)


@pytest.mark.parametrize("action", [None, 1, True, [], {}, "Invoke", "", "result", "\ud800"])
def test_an_action_that_is_none_of_the_five_is_an_invalid_action(action: Any) -> None:
    with pytest.raises(FrameError, match="action must be one of invoke, get_invocation") as caught:
        decode_action(json.dumps({"action": action, "invocation_id": "i"}))
    assert caught.value.code == "invalid_action"
    assert caught.value.invocation_id == "i"


def test_no_action_at_all_is_an_invalid_action() -> None:
    with pytest.raises(FrameError, match="action must be one of"):
        decode_action("{}")


@pytest.mark.parametrize("bad", [None, 1, True, [], {}, "", "a b", "é", "a\n", "x" * 257, "\ud800"])
def test_an_id_that_breaks_the_rules_counts_as_absent(bad: Any) -> None:
    text = json.dumps({"action": "invoke", "invocation_id": bad, "session_id": bad, "payload": {}})
    assert decode_action(text) == Invoke({})


def test_a_refused_frame_names_the_invocation_when_that_much_could_be_read() -> None:
    with pytest.raises(FrameError) as caught:
        decode_action('{"action":"invoke","invocation_id":"i","payload":3}')
    assert caught.value.invocation_id == "i"


def test_members_nobody_knows_are_ignored() -> None:
    assert decode_action('{"action":"ping","future":[1]}') == Ping()
    assert decode_message('{"type":"pong","future":[1]}') == Pong()


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": 1},
        {"type": "invoke"},
        {"type": "result", "payload": 1},
        {"type": "result", "invocation_id": "i"},
        {"type": "stream_chunk", "invocation_id": "i", "payload": 1},
        {"type": "stream_chunk", "invocation_id": "i", "session_id": "s"},
        {"type": "stream_end", "invocation_id": "i"},
        {"type": "stream_end", "session_id": "s"},
        {"type": "error"},
        {"type": "error", "error": "text"},
        {"type": "error", "error": {"code": 1, "message": "m"}},
        {"type": "error", "error": {"code": "c"}},
    ],
)
def test_a_text_that_is_no_server_frame_is_refused(message: Any) -> None:
    with pytest.raises(FrameError):
        decode_message(json.dumps(message))


@given(st.text() | json_values.map(json.dumps))
def test_any_text_is_a_frame_or_a_frame_error(text: str) -> None:
    with suppress(FrameError):
        decode_action(text)
    with suppress(FrameError):
        decode_message(text)


def test_a_lone_surrogate_survives_the_way_there_and_back() -> None:
    frame = StreamChunk("i", "s", {"\udfff": "a\ud800é"})
    data = encode_message(frame)
    assert data.isascii()
    assert decode_message(data.decode()) == frame


@dataclass
class Point:
    x: int
    label: str


def test_dataclasses_are_payloads_too() -> None:
    data = encode_message(Result("i", [Point(1, "a")]))
    assert json.loads(data)["payload"] == [{"x": 1, "label": "a"}]


def test_a_payload_that_is_no_json_is_refused_when_it_is_written() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for payload in (float("nan"), loop):
        with pytest.raises(ValueError, match=r"JSON|Circular"):
            encode_message(Result("i", payload))
    with pytest.raises(
        TypeError, match="a payload is made of JSON values and dataclasses, and object is neither"
    ):
        encode_message(Result("i", object()))
    with pytest.raises(TypeError, match="type is neither"):
        encode_message(Result("i", Point))
    with pytest.raises(RecursionError):
        encode_message(Result("i", deep))


def test_the_frames_can_be_imported_without_the_server() -> None:
    program = (
        "import sys, agentserver.actions._client_protocol as p\n"
        "print([m for m in sys.modules if m.startswith(('aiohttp', 'agentserver.invocations'))])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert run.stdout.strip() == "[]"
