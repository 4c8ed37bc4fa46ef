"""Boxes and arrows on a grid, as SVG. Pure: what a picture shows comes in, text goes out.

A box stands in a column and a row, which need not be whole. An arrow goes straight from border to border, or
by way of places on the grid; one that stays where it is makes a loop. Two arrows between the same boxes keep
apart. Colours are those of the page's scheme, by the classes of `static/site.css`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final, NamedTuple

__all__ = ["Arrow", "Box", "Frame", "Picture", "Rectangle", "labels_of", "rectangles_of", "svg"]

BOX_WIDTH: Final = 150.0
BOX_HEIGHT: Final = 44.0
_MARGIN: Final = 16.0
_LINE: Final = 15.0
_CHARACTER: Final = 6.4  # the width of one at 12 pixels, on the safe side
_APART: Final = 12.0


class Point(NamedTuple):
    """A place in pixels."""

    x: float
    y: float


class Rectangle(NamedTuple):
    """A part of the picture, in pixels."""

    left: float
    top: float
    width: float
    height: float

    def meets(self, other: Rectangle) -> bool:
        """Whether the two have a place in common."""
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.top < other.top + other.height
            and other.top < self.top + self.height
        )


@dataclass(frozen=True)
class Box:
    """A state, or a step.

    Args:
        label: What stands in it.
        column: Where, from the left.
        row: Where, from the top.
        detail: A second line, in small.
        kind: A class for its look: ``"state"``, ``"end"``, ``"failure"`` or ``"note"``.
    """

    label: str
    column: float
    row: float
    detail: str = ""
    kind: str = "state"


@dataclass(frozen=True)
class Arrow:
    """What leads from one box to another.

    Args:
        source: The key of the box, or of the frame, that it leaves.
        target: The key of the box that it leads to.
        label: What happens; a line break is kept.
        by: Columns and rows that it passes.
        at: Where the label stands, from 0, the arrow's beginning, to 1, its end.
        kind: A class for its look: ``"usual"`` or ``"failure"``.
    """

    source: str
    target: str
    label: str = ""
    by: tuple[tuple[float, float], ...] = ()
    at: float = 0.5
    kind: str = "usual"


@dataclass(frozen=True)
class Frame:
    """What is drawn around boxes that have arrows in common.

    Args:
        members: The keys of the boxes.
    """

    members: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """All of a picture.

    Args:
        title: What it is called, for those who hear it.
        description: What it shows, in a sentence or two.
        boxes: The boxes by their keys.
        arrows: The arrows.
        frames: The frames by their keys.
        words: The same as sentences, for those who would rather read.
        column_width: Pixels from one column to the next.
        row_height: Pixels from one row to the next.
    """

    title: str
    description: str
    boxes: Mapping[str, Box]
    arrows: Sequence[Arrow]
    frames: Mapping[str, Frame] = field(default_factory=dict[str, Frame])
    words: Sequence[str] = ()
    column_width: float = 220.0
    row_height: float = 100.0


def rectangles_of(picture: Picture) -> Mapping[str, Rectangle]:
    """Where the boxes and frames of *picture* are."""
    boxes = {key: _rectangle(picture, box) for key, box in picture.boxes.items()}
    return {**boxes, **{key: _around(boxes, frame) for key, frame in picture.frames.items()}}


def labels_of(picture: Picture) -> Sequence[Rectangle]:
    """Where the labels of the arrows of *picture* are."""
    return [_label_place(picture, arrow)[1] for arrow in picture.arrows if arrow.label]


def svg(picture: Picture, name: str) -> str:
    """Write *picture* as an SVG element, to stand in a page.

    Args:
        picture: What it shows.
        name: Begins the ids in it, which no other picture of the page may have.
    """
    rectangles = rectangles_of(picture)
    everything = [*rectangles.values(), *labels_of(picture), *_ways(picture)]
    left = min(place.left for place in everything) - _MARGIN
    top = min(place.top for place in everything) - _MARGIN
    width = max(place.left + place.width for place in everything) + _MARGIN - left
    height = max(place.top + place.height for place in everything) + _MARGIN - top
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" role="img" width="{width:.0f}"'
            f' height="{height:.0f}" viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}"'
            f' aria-labelledby="{name}-title {name}-description">',
            f'<title id="{name}-title">{escape(picture.title)}</title>',
            f'<desc id="{name}-description">{escape(picture.description)}</desc>',
            f'<defs><marker id="{name}-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
            ' markerHeight="7" orient="auto"><path class="head" d="M0 0 10 5 0 10z"/></marker></defs>',
            *(_frame(rectangles[key]) for key in picture.frames),
            *(_line(picture, arrow, name) for arrow in picture.arrows),
            *(_box(rectangles[key], box) for key, box in picture.boxes.items()),
            *(_label(picture, arrow) for arrow in picture.arrows if arrow.label),
            "</svg>",
        ]
    )


def _place(picture: Picture, column: float, row: float) -> Point:
    return Point(column * picture.column_width, row * picture.row_height)


def _rectangle(picture: Picture, box: Box) -> Rectangle:
    x, y = _place(picture, box.column, box.row)
    width = max(BOX_WIDTH, 7.6 * len(box.label) + 20, _CHARACTER * len(box.detail) + 20)
    return Rectangle(x - width / 2, y - BOX_HEIGHT / 2, width, BOX_HEIGHT)


def _around(boxes: Mapping[str, Rectangle], frame: Frame) -> Rectangle:
    inside = [boxes[key] for key in frame.members]
    left, top = min(one.left for one in inside) - 14, min(one.top for one in inside) - 12
    right = max(one.left + one.width for one in inside) + 14
    bottom = max(one.top + one.height for one in inside) + 12
    return Rectangle(left, top, right - left, bottom - top)


def _middle(place: Rectangle) -> Point:
    return Point(place.left + place.width / 2, place.top + place.height / 2)


def _way(picture: Picture, arrow: Arrow) -> list[Point]:
    """The points that *arrow* goes through, from border to border."""
    rectangles = rectangles_of(picture)
    source, target = rectangles[arrow.source], rectangles[arrow.target]
    if arrow.source == arrow.target:
        return _loop(source)
    between = [_place(picture, *place) for place in arrow.by]
    start, end = _middle(source), _middle(target)
    if not between:
        start, end = _in_line(source, start, target, end)
        if any((other.source, other.target) == (arrow.target, arrow.source) for other in picture.arrows):
            start, end = _beside(start, end)
    first, last = (between or [end])[0], (between or [start])[-1]
    return [_border(source, start, first), *between, _border(target, end, last)]


def _loop(place: Rectangle) -> list[Point]:
    x, y = place.left, _middle(place).y
    return [Point(x, y - 9), Point(x - 22, y - 9), Point(x - 22, y + 9), Point(x, y + 9)]


def _in_line(source: Rectangle, start: Point, target: Rectangle, end: Point) -> tuple[Point, Point]:
    """Make the way upright or level, where a large frame lets it be."""
    if source.left < end.x < source.left + source.width:
        return Point(end.x, start.y), end
    if target.left < start.x < target.left + target.width:
        return start, Point(start.x, end.y)
    if source.top < end.y < source.top + source.height:
        return Point(start.x, end.y), end
    return start, end


def _beside(start: Point, end: Point) -> tuple[Point, Point]:
    length = math.dist(start, end)
    x, y = -(end.y - start.y) / length * _APART, (end.x - start.x) / length * _APART
    return Point(start.x + x, start.y + y), Point(end.x + x, end.y + y)


def _border(place: Rectangle, inside: Point, outside: Point) -> Point:
    """Where the line from *inside* of *place* to *outside* of it leaves it."""
    x, y = outside.x - inside.x, outside.y - inside.y
    right, bottom = place.left + place.width, place.top + place.height
    shares = [1.0]
    if x:
        shares.append(((right if x > 0 else place.left) - inside.x) / x)
    if y:
        shares.append(((bottom if y > 0 else place.top) - inside.y) / y)
    share = min(one for one in shares if one >= 0)
    return Point(inside.x + x * share, inside.y + y * share)


def _ways(picture: Picture) -> Iterator[Rectangle]:
    for arrow in picture.arrows:
        yield from (Rectangle(point.x, point.y, 0, 0) for point in _way(picture, arrow))


def _label_place(picture: Picture, arrow: Arrow) -> tuple[Point, Rectangle]:
    """The middle of the label of *arrow*, and the place that it takes."""
    way = _way(picture, arrow)
    lengths = [math.dist(one, other) for one, other in itertools.pairwise(way)]
    rest = arrow.at * sum(lengths)
    x, y = way[-1]
    for one, other, length in zip(way, way[1:], lengths, strict=False):
        if rest <= length:
            share = rest / length if length else 0.0
            x, y = one.x + (other.x - one.x) * share, one.y + (other.y - one.y) * share
            break
        rest -= length
    lines = arrow.label.split("\n")
    width, height = max(map(len, lines)) * _CHARACTER, len(lines) * _LINE
    if arrow.source == arrow.target:
        x -= width / 2 + 6
    return Point(x, y), Rectangle(x - width / 2, y - height / 2, width, height)


def _frame(place: Rectangle) -> str:
    return f'<rect class="frame" {_geometry(place)} rx="12"/>'


def _box(place: Rectangle, box: Box) -> str:
    x, y = _middle(place)
    rest = ""
    if box.detail:
        y -= 8
        rest = f'<text class="detail" x="{x:.0f}" y="{y + 18:.0f}">{escape(box.detail)}</text>'
    text = f'<text x="{x:.0f}" y="{y:.0f}">{escape(box.label)}</text>'
    return f'<g class="{box.kind}"><rect {_geometry(place)} rx="6"/>{text}{rest}</g>'


def _line(picture: Picture, arrow: Arrow, name: str) -> str:
    points = " ".join(f"{point.x:.0f},{point.y:.0f}" for point in _way(picture, arrow))
    return f'<polyline class="{arrow.kind}" points="{points}" marker-end="url(#{name}-head)"/>'


def _label(picture: Picture, arrow: Arrow) -> str:
    middle, place = _label_place(picture, arrow)
    lines = arrow.label.split("\n")
    spans = "".join(
        f'<tspan x="{middle.x:.0f}" y="{place.top + _LINE * (number + 0.5):.0f}">{escape(line)}</tspan>'
        for number, line in enumerate(lines)
    )
    return f'<text class="label {arrow.kind}">{spans}</text>'


def _geometry(place: Rectangle) -> str:
    return f'x="{place.left:.0f}" y="{place.top:.0f}" width="{place.width:.0f}" height="{place.height:.0f}"'
