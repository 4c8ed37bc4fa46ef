"""The ratios as a picture: one line for each case, one dot for each server, on a logarithmic scale."""

from __future__ import annotations

from html import escape
from math import log

from .plan import YARDSTICK
from .report import ABSOLUTE, Summary

LEFT, RIGHT, TOP, ROW, WIDTH = 270, 24, 64, 34, 980
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
COLOURS = {
    "ours": "#d1242f",
    "aiohttp": "#57606a",
    "azure": "#0969da",
    "bedrock": "#bf8700",
    "starlette": "#1a7f37",
}
SHAPES = ("circle", "square", "diamond")
Point = tuple[float, float]


def svg(summary: Summary) -> str:
    """The picture of a run, as an SVG document."""
    cases = [case for case in summary.cases if case.name not in ABSOLUTE]
    servers = [server for server in summary.servers if server != YARDSTICK]
    height = TOP + ROW * len(cases) + 40
    ratios = [f.ratio for case in cases for s in servers if (f := summary.figure(case.name, s))]
    scale = _Scale(min([*ratios, 0.5]) / 1.15, max([*ratios, 2]) * 1.15)
    parts = [*_grid(scale, height), *_legend(servers)]
    for row, case in enumerate(cases):
        y = TOP + ROW * row + ROW / 2
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(case.title)}</text>')
        for server in servers:
            figure = summary.figure(case.name, server)
            if figure:
                colour, shape = _look(server, servers)
                parts.append(_line((scale(figure.least), y), (scale(figure.most), y), colour))
                parts.append(_mark(shape, scale(figure.ratio), y, colour, f"{server}: {figure.ratio:.2f}"))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="#24292f">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


class _Scale:
    def __init__(self, least: float, most: float) -> None:
        self.ticks = [tick for tick in TICKS if least <= tick <= most]
        self._from = log(least)
        self._wide = (WIDTH - LEFT - RIGHT) / (log(most) - log(least))

    def __call__(self, ratio: float) -> float:
        return LEFT + (log(ratio) - self._from) * self._wide


def _grid(scale: _Scale, height: int) -> list[str]:
    parts: list[str] = []
    for tick in scale.ticks:
        x = scale(tick)
        parts.append(_line((x, TOP), (x, height - 32), "#24292f" if tick == 1 else "#d0d7de", 1))
        parts.append(f'<text x="{x:.1f}" y="{height - 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{LEFT - 12}" y="{height - 16}" text-anchor="end">cost, {YARDSTICK} = 1</text>')
    return parts


def _legend(servers: list[str]) -> list[str]:
    parts: list[str] = []
    for place, server in enumerate(servers):
        x, y = 24 + place % 5 * 190, 18 + place // 5 * 20
        colour, shape = _look(server, servers)
        parts += [
            _mark(shape, x, y, colour, server),
            f'<text x="{x + 12}" y="{y + 4}">{escape(server)}</text>',
        ]
    return parts


def _look(server: str, servers: list[str]) -> tuple[str, str]:
    family = server.replace(",", " ").split()[0]
    kin = [other for other in servers if other.startswith(family)]
    return COLOURS.get(family, "#8250df"), SHAPES[kin.index(server) % len(SHAPES)]


def _line(start: Point, end: Point, colour: str, width: float = 2.5) -> str:
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}" stroke-opacity="0.6"/>'


def _mark(shape: str, x: float, y: float, colour: str, title: str) -> str:
    forms = {
        "circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"',
        "square": f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9" fill="{colour}"',
        "diamond": f'<path d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z" fill="{colour}"',
    }
    return f"{forms[shape]}><title>{escape(title)}</title></{forms[shape][1:].split(' ', 1)[0]}>"
