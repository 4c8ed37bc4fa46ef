"""Ids are random, well-formed, and never handed out twice, by a forked process neither."""

from __future__ import annotations

import os
import uuid

import pytest

from agentserver._http.ids import new_trace_id, new_uuid


def test_a_uuid_is_of_version_4_in_its_canonical_form_and_new() -> None:
    seen = {new_uuid() for _ in range(1000)}
    assert len(seen) == 1000
    for text in seen:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, text)


def test_hexadecimal_ids_have_32_digits_and_are_new() -> None:
    seen = {new_trace_id() for _ in range(1000)}
    assert len(seen) == 1000
    assert all(len(text) == 32 and set(text) <= set("0123456789abcdef") for text in seen)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_hands_out_ids_of_its_own() -> None:
    assert new_trace_id()
    assert new_uuid()  # now some of both are ready
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, f"{new_trace_id()} {new_uuid()}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 1000).decode().split()
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 2
    assert not set(theirs) & {*(new_trace_id() for _ in range(300)), *(new_uuid() for _ in range(300))}
