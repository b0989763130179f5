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
_NAMESPACE = "{http://www.w3.org/2000/svg}"
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNITS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1))

Dots = Sequence[tuple[float, float | None, str]]


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
    return _plot(title, dots, {}, _number, stroke=joined, x_title=_written(x), y_title=_written(y))


def bars(title: str, values: Mapping[str, float | None]) -> Markup:
    """Return a bar by name, with its value; None has no bar and is said to be unknown."""
    known = {name: _placed(value) for name, value in values.items()}
    if not any(value is not None for value in known.values()):
        return _figure(title, _EMPTY)
    upwards = [(name, value, f"{name}: {_said(value)}") for name, value in reversed(known.items())]
    room = pygal.style.Style(label_font_size=13)  # for labels, which are larger on a narrow page
    chart = pygal.HorizontalBar(**_LOOKS, height=40 + BAR * len(known), show_y_guides=False, style=room)
    chart.x_labels = [_label(name, value) for name, value, _ in upwards]
    chart.add("", [_point(value, says) for _, value, says in upwards])
    return _figure(title, _drawn(chart, f"{title}, {len(known)} bars"))


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
    found = sum(_placed(up) is not None for each in dots.values() for _, up, _ in each)
    if not found:
        return _figure(title, _EMPTY)
    chart = pygal.XY(
        **_LOOKS,
        **looks,
        height=HEIGHT,
        allow_interruptions=True,
        x_value_formatter=across,
        stroke=stroke,
        show_dots=not stroke or found <= MOST_DOTS,
    )
    for name, each in dots.items():
        chart.add(_written(name), [_point((x, _placed(up)), label) for x, up, label in each])
    for name, each in marks.items():
        chart.add(_written(name), [_point((x, _placed(up)), label) for x, up, label in each], show_dots=False)
    picture = _drawn(chart, f"{title}: {', '.join([*dots, *marks])}", references=len(marks))
    return _figure(title, picture, _legend(dots, marks))


def _number(value: float) -> str:
    return f"{value:.4g}"


def _said(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


_LOOKS: Mapping[str, object] = {
    "width": WIDTH,
    "margin": 12,
    "spacing": 6,
    "js": [],
    "css": [],
    "no_prefix": True,
    "show_legend": False,
    "min_scale": 3,
    "max_scale": 6,
    "value_formatter": _number,
}


def _placed(value: float | None) -> float | None:
    """Return a value if pygal can place it, which computes with the square of it."""
    return value if value is not None and abs(value) < LARGEST else None


def _point(value: object, says: str) -> dict[str, object]:
    return {"value": value, "tooltip": _written(says)}


def _label(name: str, value: float | None) -> str:
    name = name if len(name) <= LABEL else f"{name[: LABEL // 2]}…{name[-(LABEL // 2 - 1) :]}"
    return _written(f"{name}: {_said(value)}")


def _written(text: str) -> str:
    """Return a text with a mark for each character that XML has not."""
    return _UNWRITABLE.sub("�", text)


def _drawn(chart: pygal.Graph, title: str, references: int = 0) -> Markup:
    """Return a chart as markup without what a page may not hold."""
    tree = ElementTree.fromstring(chart.render())
    tree.attrib = {"class": "picture", "viewBox": tree.attrib["viewBox"], "role": "img", "aria-label": _written(title)}
    for parent in list(tree.iter()):
        parent.tag = parent.tag.removeprefix(_NAMESPACE)
        for child in list(parent):
            if _is_left_out(child, parent):
                parent.remove(child)
    _mark(tree, len(chart.raw_series), references)
    return Markup(ElementTree.tostring(tree, encoding="unicode"))


def _is_left_out(element: ElementTree.Element, parent: ElementTree.Element) -> bool:
    """Return whether an element is for pygal's own styles and scripts, or repeats what stands there anyway."""
    tag = element.tag.removeprefix(_NAMESPACE)
    if tag == "title":
        return parent.get("class") not in ("dots", "bar")
    return tag in ("defs", "desc") or element.get("class", "").endswith("tooltip-overlay")


def _mark(tree: ElementTree.Element, series: int, references: int) -> None:
    """Give each series its classes, and each of its points the marker of the series."""
    for index in range(series):
        looks = "reference" if index >= series - references else f"colour-{index % COLOURS}"
        for group in tree.iterfind(f".//g[@class='series serie-{index} color-{index}']"):
            group.set("class", looks)
            for dot in group.iter("circle"):
                dot.tag = "path"
                place = f"translate({float(dot.attrib['cx']):.1f} {float(dot.attrib['cy']):.1f})"
                dot.attrib = {"class": "dot", "d": MARKERS[index % len(MARKERS)], "transform": place}


def _legend(names: Iterable[str], references: Iterable[str]) -> Markup:
    """Return which marker stands for which series, and which lines are references."""
    markers = [
        (f"colour-{i % COLOURS}", "dot", MARKERS[i % len(MARKERS)], _written(name)) for i, name in enumerate(names)
    ]
    dashes = [("reference", "line", "M-6,0h12", _written(name)) for name in references]
    item = Markup(
        '<li><svg class="{}" viewBox="-6 -6 12 12" aria-hidden="true"><path class="{}" d="{}"/></svg> {}</li>'
    )
    return Markup('<ul class="legend">{}</ul>').format(Markup().join(item.format(*each) for each in markers + dashes))


def _figure(title: str, *parts: Markup) -> Markup:
    return Markup('<figure class="chart"><figcaption>{}</figcaption>{}</figure>').format(
        _written(title), Markup().join(parts)
    )
