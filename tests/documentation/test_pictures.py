"""The pictures show all that the tables in the code have, can be heard, and no words in them overlap."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from xml.etree import ElementTree

import pytest

from agentserver._hosting.host import Host
from agentserver._http.deadlines import Action
from agentserver._websocket.closing import TRANSITIONS, State
from agentserver.actions._state import Phase
from agentserver.durable._records import Status
from documentation.pictures import PICTURES, connection, host, runs
from documentation.pictures.drawing import labels_of, rectangles_of, svg
from documentation.terminal import plain, terminal
from tests.servers import ROOT

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_a_title_a_description_and_the_same_in_words(name: str) -> None:
    picture = PICTURES[name]()
    drawn = ElementTree.fromstring(svg(picture, name))  # noqa: S314 - our own
    assert drawn.get("role") == "img"
    named = {child.get("id"): child.text for child in drawn if child.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert [*named] == (drawn.get("aria-labelledby") or "").split()
    assert all(named.values())
    assert len(picture.words) > 3


@pytest.mark.parametrize("name", PICTURES)
def test_no_word_of_a_picture_covers_another(name: str) -> None:
    picture = PICTURES[name]()
    boxes = [place for key, place in rectangles_of(picture).items() if key not in picture.frames]
    for one, other in itertools.combinations([*labels_of(picture), *boxes], 2):
        assert not one.meets(other)


@pytest.mark.parametrize("name", PICTURES)
def test_every_arrow_of_a_picture_is_drawn_and_leads_from_box_to_box(name: str) -> None:
    picture = PICTURES[name]()
    assert svg(picture, name).count("<polyline") == len(picture.arrows)
    for arrow in picture.arrows:
        assert arrow.source in {*picture.boxes, *picture.frames}
        assert arrow.target in picture.boxes


def test_the_states_are_those_of_the_tables() -> None:
    assert {state.name for state in State} <= {*PICTURES["websocket"]().boxes}
    assert {phase.name for phase in Phase} == {*PICTURES["action"]().boxes}
    assert {status.value for status in Status} <= {*PICTURES["run"]().boxes}
    ways_out = {action.name for action in Action if action is not Action.NOTHING}
    assert ways_out <= {*PICTURES["connection"]().boxes}


def test_every_transition_of_a_websocket_is_in_the_words() -> None:
    words = Counter(word.partition(":")[0] for word in PICTURES["websocket"]().words)
    told = [f"When it is {state.value}, on “{event.name.lower()}”" for state, event in TRANSITIONS]
    assert all(words[sentence.replace("_", " ")] == 1 for sentence in told)


def test_each_state_of_a_connection_that_waits_for_a_client_has_its_option() -> None:
    assert connection.timeouts() == {
        "idle": ("keepalive_timeout", Action.CLOSE),
        "reading the headers": ("header_timeout", Action.REFUSE_HEAD),
        "reading the body": ("body_timeout", Action.FAIL_BODY),
        "sending": ("write_timeout", Action.CUT_OFF),
    }


def test_a_run_that_has_ended_is_only_ever_forgotten() -> None:
    for (state, operation), following in runs.transitions().items():
        ended = state in {status.value for status in Status if status.is_terminal}
        assert (following == "forgotten") == ended, (state, operation)


@pytest.mark.parametrize("method", ["start", "stop"])
def test_every_step_of_the_hosts_life_has_words_or_is_part_of_one_that_has(method: str) -> None:
    unknown = set(host.steps(getattr(Host, method))) - {*host.WORDS} - host.SILENT
    assert unknown == set(), "say in documentation/pictures/host.py what this step is"


def test_every_picture_of_the_code_stands_on_a_page() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    assert set(re.findall(r"^```{picture-of} (\S+)$", pages, re.MULTILINE)) == {*PICTURES}


def test_a_terminal_shows_colours_wraps_long_lines_and_can_be_heard() -> None:
    shown = terminal("\x1b[32mok\x1b[0m <b>\n" + "x" * 25, "A title", columns=20)
    drawn = ElementTree.fromstring(shown)  # noqa: S314 - our own
    lines = ["".join(text.itertext()) for text in drawn.iter(f"{SVG}text")]
    assert lines == ["ok <b>", "x" * 20, "  xxxxx"]
    assert '<tspan fill="#8fdc8f">ok</tspan>' in shown
    assert plain("\x1b[1;31mno\x1b[0m") == "no"
