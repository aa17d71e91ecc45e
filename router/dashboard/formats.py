"""Values as people read them. Plain text: the templates escape it."""

import math
from datetime import UTC, datetime

UNKNOWN = "–"


def usd(value: float | None) -> str:
    """An amount in dollars with as many digits as matter."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if size == 0:
        return "$0"
    if size >= 1000:
        text = f"{size:,.0f}"
    elif size >= 0.1:
        text = f"{size:.2f}"
    else:
        text = f"{size:.{min(1 - math.floor(math.log10(size)), 9)}f}"
    return f"-${text}" if value < 0 else f"${text}"


def number(value: float | None) -> str:
    """A count."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A probability or a part in per cent; what is not certain never reads as 0 or 100."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.001:
        return "<0.1 %"
    if 0.999 < value < 1:
        return ">99.9 %"
    return f"{value * 100:.1f} %" if 0 < value < 0.1 or 0.9 < value < 1 else f"{value * 100:.0f} %"


def points(value: float | None) -> str:
    """A quality in [0, 1]."""
    return UNKNOWN if value is None else f"{value:.3f}"


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return UNKNOWN
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 120 else f"{value / 60:.0f} min"


def when(at: float) -> str:
    """A moment in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock(at: float, now: float) -> str:
    """A moment in UTC, without the day where that is today's."""
    moment, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC).date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")


def iso(at: float) -> str:
    """A moment for programs."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def ago(at: float, now: float) -> str:
    """How long since."""
    passed = max(0.0, now - at)
    for length, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if passed >= length:
            return f"{passed // length:.0f} {name} ago"
    return f"{passed:.0f} s ago"


def provider(model: str) -> str:
    """The part of a model's id before its name, with the stroke; empty where there is none."""
    before, stroke, _ = model.partition("/")
    return before + stroke if stroke else ""


def name(model: str) -> str:
    """A model's id without its provider."""
    return model.partition("/")[2] or model


def short(model: str) -> str:
    """The last part of a model's id."""
    return model.rpartition("/")[2] or model


def words(code: str) -> str:
    """An identifier as words."""
    return code.replace("_", " ")


FILTERS = {f.__name__: f for f in (usd, number, share, points, seconds, when, iso, provider, name, short, words)}
