"""Draws cost against quality of one task type as an SVG: every measured model with its interval, numbered as in the table."""

import math
from collections.abc import Callable, Sequence
from html import escape

from router.domain.guide import Cell, State, TaskGuide

_WIDTH, _HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 250, 34, 48
_INK, _FAINT, _BEST, _OTHER = "#1f2933", "#d5dbe1", "#0b7a5a", "#4a6fa5"


def picture(guide: TaskGuide) -> str | None:
    """The drawing; None where fewer than two models have a known cost and quality."""
    numbered = list(enumerate((cell for cell in guide.cells if cell.state is State.MEASURED), start=1))
    shown = [(n, c) for n, c in numbered if c.quality is not None and c.cost_usd is not None and c.cost_usd.mean > 0]
    if len(shown) < 2:
        return None
    costs = [1000 * (c.cost_usd.mean if c.cost_usd else 0.0) for _, c in shown]
    low, high = _decades(min(costs), max(costs))
    floor = min(0.9, math.floor(10 * min(c.quality.low for _, c in shown if c.quality)) / 10)

    def x(usd: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(usd) - low) / (high - low)

    def y(quality: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (quality - floor) / (1.0 - floor)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="Helvetica, Arial, sans-serif" '
        f'font-size="12" fill="{_INK}" role="img" aria-label="{escape(guide.task_type)}: cost against quality">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14" font-weight="bold">{escape(guide.task_type)}: cost against quality</text>',
    ]
    for tenth in range(round(10 * floor), 11):
        at = y(tenth / 10)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{_FAINT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tenth / 10:.1f}</text>')
    for tick in _ticks(low, high):
        at = x(tick)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="{_FAINT}"/>')
        parts.append(f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">${tick:g}</text>')
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 10}" text-anchor="middle">USD per 1,000 calls (logarithmic)</text>'
    )
    parts.append(f'<text x="16" y="{_TOP + 6}" transform="rotate(-90 16 {_TOP + 6})" text-anchor="end">measured quality, 90 %</text>')
    for (number, cell), usd in zip(shown, costs, strict=True):
        parts += _dot(number, cell, x(usd), y, recommended=cell.model == guide.recommended)
    parts += _legend(shown, guide.recommended)
    if missing := [str(n) for n, _ in numbered if n not in {k for k, _ in shown}]:
        told = f"cost unknown: {', '.join(missing[:12])}"
        parts.append(f'<text x="{_WIDTH - _RIGHT + 16}" y="{_HEIGHT - _BOTTOM}" fill="#7b8794">{told}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _dot(number: int, cell: Cell, at: float, y: Callable[[float], float], *, recommended: bool) -> list[str]:
    quality = cell.quality
    if quality is None:
        return []
    colour, middle = (_BEST if recommended else _OTHER), y(quality.mean)
    return [
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(quality.low):.1f}" y2="{y(quality.high):.1f}" stroke="{colour}" stroke-width="2"/>',
        f'<circle cx="{at:.1f}" cy="{middle:.1f}" r="{6 if recommended else 4.5}" fill="{colour}"/>',
        f'<text x="{at + 9:.1f}" y="{middle + 4:.1f}" fill="{colour}" font-weight="bold">{number}</text>',
    ]


def _legend(shown: Sequence[tuple[int, Cell]], recommended: str | None) -> list[str]:
    lines = []
    for row, (number, cell) in enumerate(shown[:16]):
        at = _TOP + 14 + 19 * row
        colour = _BEST if cell.model == recommended else _OTHER
        name = cell.model.rpartition("/")[2]
        told = f"{number}  {name if len(name) <= 30 else name[:29] + '…'}"
        weight = ' font-weight="bold"' if cell.model == recommended else ""
        lines.append(f'<text x="{_WIDTH - _RIGHT + 16}" y="{at}" fill="{colour}"{weight}>{escape(told)}</text>')
    return lines


def _decades(least: float, most: float) -> tuple[float, float]:
    """Ends of the axis on the logarithmic scale, with room on both sides."""
    low, high = math.log10(least), math.log10(most)
    room = max(0.12 * (high - low), 0.15)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    found = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
    inside = [t for t in found if low <= math.log10(t) <= high]
    return inside if len(inside) <= 7 else [t for t in inside if str(f"{t:e}").startswith("1")] or inside[::3]
