"""The fuzzers in short: a few cases of each, always the same; `make fuzz` makes up new ones."""

from __future__ import annotations

import random

import pytest

from fuzzing import websocket
from fuzzing.__main__ import fuzz
from fuzzing.leaving import WAYS, figures, settled, soak
from fuzzing.wire import cut
from tests.servers import running


@pytest.mark.parametrize(("name", "count"), [("websocket", 150), ("http", 40)])
async def test_our_server_makes_of_the_same_bytes_what_the_other_makes(name: str, count: int) -> None:
    tried, differences = await fuzz(name, "short", range(count), 30.0)
    assert not differences, "\n\n".join(differences)
    assert tried == count


async def test_a_difference_is_told_with_the_seed_and_number_that_repeat_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(_case: websocket.Case) -> websocket.Trace:
        return websocket.Trace(code=4999)

    monkeypatch.setattr(websocket, "expected", wrong)
    tried, differences = await fuzz("websocket", "short", [3], 30.0)
    assert tried == 1
    assert differences[0].startswith("SEED=short number 3\n")


@pytest.mark.parametrize("number", range(20))
def test_a_case_is_cut_into_pieces_that_are_the_whole(number: int) -> None:
    case = websocket.generate(random.Random(number))
    assert b"".join(case.pieces) == b"".join(case.frames)
    assert websocket.generate(random.Random(number)) == case


def test_pieces_are_in_order() -> None:
    assert b"".join(cut(random.Random(1), bytes(range(200)))) == bytes(range(200))


async def test_a_server_that_clients_left_in_every_way_holds_what_it_held() -> None:
    async with running("-m", "fuzzing.agent") as server:
        before = await figures(server.port)
        await soak(server.port, random.Random(1), 2 * len(WAYS))
        await settled(server.port, before)
