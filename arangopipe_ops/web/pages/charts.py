"""Charts as SVG that stands in a page: lines over time, points, bars.

pygal places them; its own styles and scripts are left out, since a page may hold neither. Colours are classes of
style.css, each series has a marker of its own besides, and what a point says is its title, so no script shows it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pygal
from markupsafe import Markup
from pygal.etree import etree

from arangopipe_ops.web.pages.rendering import figure

etree.to_etree()  # also where lxml is installed

COLOURS = 6
MARKERS = (
    "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z",
    "M-3,-3h6v6h-6z",
    "M0,-4L4,3H-4z",
    "M0,-4L4,0L0,4L-4,0z",
    "M-4,-1h3v-3h2v3h3v2h-3v3h-2v-3h-3z",
)
"""The outlines of markers; their number and that of the colours have no divisor, so 30 series look different."""

WIDTH, HEIGHT, BAR, LABEL = 480, 240, 24, 24
MOST_DOTS = 500
"""A line through more points is drawn without them."""

LARGEST = 1e100
_EMPTY = Markup('<p class="empty">Nothing to draw yet: no value has been recorded.</p>')
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SERIES = re.compile(r"series serie-(\d+) color-\1")
_UNITS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1))

Dots = Sequence[tuple[float, float | None, str]]
Place = Callable[[tuple[float, float]], tuple[float, float]]


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[datetime, float | None]]],
    *,
    references: Mapping[str, float] | None = None,
) -> Markup:
    """Return values over time, a line by name; None is a gap. `references` are horizontal lines by name."""
    moments = [at for points in series.values() for at, _ in points]
    if not moments:
        return _figure(title, _EMPTY)
    first, last = min(moments), max(moments)
    unit = next((unit for unit in _UNITS if last - first > 3 * unit), _UNITS[-1])

    def place(at: datetime) -> float:
        return at.timestamp() / unit.total_seconds()

    def date(x: float) -> str:
        at = datetime.fromtimestamp(x * unit.total_seconds(), UTC)
        return f"{at:%Y-%m-%d}" if unit == _UNITS[0] else f"{at:%m-%d %H:%M}"

    dots = {
        name: [
            (place(at), value, f"{name}: {_said(value)}, {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
            for at, value in points
        ]
        for name, points in series.items()
    }
    marks = {
        name: [(place(at), value, f"{name}: {_said(value)}") for at in (first, last)]
        for name, value in (references or {}).items()
    }
    return _plot(title, dots, marks, date, stroke=True)


def scatter(
    title: str, points: Mapping[str, Sequence[tuple[float, float | None, str]]], *, x: str, y: str, joined: bool = False
) -> Markup:
    """Return points by series, each as (x, y, label). `x` and `y` say what the axes are.

    Points that are `joined` are a line, in which None is a gap.
    """
    dots: dict[str, Dots] = {
        name: [(across, up, f"{name}, {label}: {x} {_said(across)}, {y} {_said(up)}") for across, up, label in each]
        for name, each in points.items()
    }
    return _plot(title, dots, {}, _number, stroke=joined, x_title=x, y_title=y)


def bars(title: str, values: Mapping[str, float | None]) -> Markup:
    """Return a bar by name, with its value; None has no bar and is said to be unknown."""
    known = {name: _placed(value) for name, value in values.items()}
    if not any(value is not None for value in known.values()):
        return _figure(title, _EMPTY)
    chart = pygal.HorizontalBar(**_LOOKS, height=40 + BAR * len(known), show_y_guides=False)
    chart.x_labels = [_label(name, value) for name, value in reversed(known.items())]
    chart.add("", list(reversed(known.values())))
    picture = _rendered(chart, f"{title}, {len(known)} bars", 1)
    drawn = [f"{name}: {_said(value)}" for name, value in reversed(known.items()) if value is not None]
    for bar, says in zip(picture.iterfind(".//g[@class='bar']"), drawn, strict=True):
        _say(bar, says)
    return _figure(title, _markup(picture))


def _plot(
    title: str,
    dots: Mapping[str, Dots],
    marks: Mapping[str, Dots],
    across: Callable[[float], str],
    *,
    stroke: bool,
    **looks: object,
) -> Markup:
    """Return points on two axes, with what stands for which series."""
    dots = {name: _placeable(each) for name, each in dots.items()}
    found = sum(up is not None for each in dots.values() for _, up, _ in each)
    if not found:
        return _figure(title, _EMPTY)
    chart = pygal.XY(
        **_LOOKS,
        **looks,
        height=HEIGHT,
        allow_interruptions=True,
        x_value_formatter=across,
        stroke=stroke,
        show_dots=False,  # it takes a millisecond for two
    )
    # Where no lines are drawn, one series tells pygal what there is to place; each costs it most of a millisecond.
    placed = dots.values() if stroke else [[each for series in dots.values() for each in series]]
    for each in (*placed, *map(_placeable, marks.values())):
        chart.add("", [(x, up) for x, up, _ in each])
    picture = _rendered(chart, f"{title}: {', '.join([*dots, *marks])}", len(dots))
    if not stroke or found <= MOST_DOTS:
        _draw_dots(picture, dots, chart.view)
    return _figure(title, _markup(picture), _legend(dots, marks))


def _number(value: float) -> str:
    return f"{value:.4g}"


def _said(value: float | None) -> str:
    return "unknown" if value is None else figure(value)


_LOOKS: Mapping[str, object] = {
    "width": WIDTH,
    "margin": 12,
    "margin_right": 24,
    "spacing": 6,
    "js": [],
    "css": [],
    "no_prefix": True,
    "show_legend": False,
    "min_scale": 3,
    "max_scale": 6,
    "truncate_label": -1,
    "style": pygal.style.Style(label_font_size=13),  # room for labels, which are larger on a narrow page
    "value_formatter": _number,
}


def _placed(value: float | None) -> float | None:
    """Return a value if pygal can place it, which computes with the square of it."""
    return value if value is not None and abs(value) < LARGEST else None


def _placeable(dots: Dots) -> Dots:
    """Return the points that have a place across; those that have none upwards are gaps."""
    return [(x, _placed(up), says) for x, up, says in dots if _placed(x) is not None]


def _label(name: str, value: float | None) -> str:
    name = name if len(name) <= LABEL else f"{name[: LABEL // 2]}…{name[-(LABEL // 2 - 1) :]}"
    return f"{name}: {_said(value)}"


def _written(text: str) -> str:
    """Return a text with a mark for each character that XML has not."""
    return _UNWRITABLE.sub("�", text)


def _rendered(chart: pygal.Graph, says: str, series: int) -> ElementTree.Element:
    """Return a chart without what a page may not hold, the first of its series in colours, the others as references."""
    chart.setup()
    picture: ElementTree.Element = chart.svg.root
    picture.attrib = {"class": "picture", "viewBox": picture.attrib["viewBox"], "role": "img", "aria-label": says}
    for parent in list(picture.iter()):
        for child in list(parent):
            if child.tag in _LEFT_OUT or child.get("class", "").endswith("tooltip-overlay"):
                parent.remove(child)
    for group in picture.iterfind(".//g[@class]"):
        if found := _SERIES.fullmatch(group.get("class", "")):
            group.set("class", _colour(int(found[1])) if int(found[1]) < series else "reference")
    return picture


_LEFT_OUT = (ElementTree.Comment, "defs", "desc", "title")
"""Elements that are for pygal's own styles and scripts, or repeat what is written anyway."""


def _draw_dots(picture: ElementTree.Element, dots: Mapping[str, Dots], place: Place) -> None:
    """Draw the points of each series as its markers, with what they say, above the lines."""
    overlay = picture.find("./g/g[@class='plot overlay']")
    assert overlay is not None
    for index, each in enumerate(dots.values()):
        group = ElementTree.SubElement(overlay, "g", {"class": _colour(index)})
        for x, up, says in each:
            if up is not None:
                where = "translate({:.1f} {:.1f})".format(*place((x, up)))
                _say(
                    ElementTree.SubElement(group, "path", {"class": "dot", "d": _marker(index), "transform": where}),
                    says,
                )


def _say(element: ElementTree.Element, text: str) -> None:
    """Have an element say something when it is pointed at."""
    ElementTree.SubElement(element, "title").text = text


def _markup(picture: ElementTree.Element) -> Markup:
    return Markup(_written(ElementTree.tostring(picture, encoding="unicode")))


def _colour(index: int) -> str:
    return f"colour-{index % COLOURS}"


def _marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def _legend(names: Iterable[str], references: Iterable[str]) -> Markup:
    """Return which marker stands for which series, and which lines are references."""
    markers = [(_colour(i), "dot", _marker(i), _written(name)) for i, name in enumerate(names)]
    dashes = [("reference", "line", "M-6,0h12", _written(name)) for name in references]
    item = Markup(
        '<li><svg class="{}" viewBox="-6 -6 12 12" aria-hidden="true"><path class="{}" d="{}"/></svg> {}</li>'
    )
    return Markup('<ul class="legend">{}</ul>').format(Markup().join(item.format(*each) for each in markers + dashes))


def _figure(title: str, *parts: Markup) -> Markup:
    return Markup('<figure class="chart"><figcaption>{}</figcaption>{}</figure>').format(
        _written(title), Markup().join(parts)
    )
