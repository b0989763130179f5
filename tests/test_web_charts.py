"""Charts: what they show, that they are safe to stand in a page, and that nothing that is measured breaks them."""

import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from xml.etree import ElementTree

import pytest
from markupsafe import Markup
from test_web_pages import MARKUP

from arangopipe_ops.web.pages.charts import COLOURS, MARKERS, MOST_DOTS, bars, lines, scatter

START = datetime(2026, 1, 1, tzinfo=UTC)


def days(*values: float | None) -> list[tuple[datetime, float | None]]:
    return [(START + timedelta(days=day), value) for day, value in enumerate(values)]


def tree(chart: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(chart)


def titles(chart: Markup) -> list[str]:
    return [found.text or "" for found in tree(chart).iter("title")]


def height(path: str) -> float:
    """Return how far down a horizontal line is."""
    return float(re.findall(r"[\d.]+", path)[1])


def test_lines_say_each_value_with_its_time() -> None:
    """A point's title is series, value and time in UTC, also where the time was given in another zone."""
    there = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    chart = lines("Accuracy", {"forest": [(there, 0.9), (START, 0.625)], "svm": [(START, 1)]})
    assert titles(chart) == [
        "forest: 0.9, 2025-12-31 23:30 UTC",
        "forest: 0.625, 2026-01-01 00:00 UTC",
        "svm: 1, 2026-01-01 00:00 UTC",
    ]


def test_a_period_without_a_value_is_a_gap() -> None:
    """A None, or what is no number, breaks the line and has no point."""
    chart = lines("Accuracy", {"forest": days(0.9, 0.8, None, 0.7, 0.6, math.nan, 0.5, math.inf, 0.4, 0.3)})
    assert len(tree(chart).findall(".//g[@class='colour-0']/path[@class='line reactive nofill']")) == 3
    assert len(titles(chart)) == 7


def test_references_lie_across_the_whole_time_at_their_value() -> None:
    """A reference is a line of its own look as long as the time, and named."""
    chart = lines("Accuracy", {"forest": days(0.9, 0.8, 0.7)}, references={"development": 0.95, "least": 0.5})
    found = [path.attrib["d"] for group in tree(chart).iter("g") if group.get("class") == "reference" for path in group]
    assert len(found) == 2
    starts = [float(re.findall(r"[\d.]+", path)[0]) for path in found]
    ends = [float(re.findall(r"[\d.]+", path)[2]) for path in found]
    [line] = tree(chart).findall(".//g[@class='colour-0']/path[@class='line reactive nofill']")
    across = [float(each) for each in re.findall(r"([\d.]+) [\d.]+", line.attrib["d"])]
    assert (starts, ends) == ([min(across)] * 2, [max(across)] * 2)
    assert height(found[0]) < height(line.attrib["d"]) < height(found[1])
    assert [item.text or item[0].tail for item in tree(chart).iter("li")] == [" forest", " development", " least"]


def test_an_axis_says_dates_or_times() -> None:
    """Weeks have dates at the axis, hours have times."""
    assert re.search(r">2026-01-\d\d<", lines("Accuracy", {"forest": days(*range(20))}))
    hours = {"forest": [(START + timedelta(hours=hour), float(hour)) for hour in range(10)]}
    assert re.search(r">01-01 \d\d:\d\d<", lines("Accuracy", hours))


def test_points_say_their_label_and_both_values() -> None:
    """A point of a scatter is named and says what it is at each axis."""
    chart = scatter("Runs", {"forest": [(3, 0.9, "r1")], "svm": [(5, 0.75, "r2")]}, x="depth", y="accuracy")
    assert titles(chart) == ["forest, r1: depth 3, accuracy 0.9", "svm, r2: depth 5, accuracy 0.75"]
    assert {"depth", "accuracy"} < {text.text for text in tree(chart).iter("text")}


def test_bars_say_their_values_in_order() -> None:
    """Bars stand from top to bottom as given, as long as their values; what is unknown has none and says so."""
    chart = bars("Weights", {"age": 0.5, "bmi": None, "sex": 0.25})
    labels = [text.text or "" for text in tree(chart).findall(".//g[@class='axis y']//text")]
    assert sorted(labels) == ["age: 0.5", "bmi: unknown", "sex: 0.25"]
    rows = {title.text: bar.find("rect") for bar in tree(chart).iter("g") for title in bar.findall("title")}
    age, sex = (rows[says].attrib for says in ("age: 0.5", "sex: 0.25"))
    assert float(age["y"]) < float(sex["y"])
    assert float(age["width"]) == pytest.approx(2 * float(sex["width"]))


def test_series_differ_in_more_than_colour() -> None:
    """No two of many series have both colour and marker in common, and the legend shows the marker of the points."""
    number = COLOURS * len(MARKERS)
    chart = scatter("Runs", {f"s{i}": [(i, i, "r")] for i in range(number)}, x="x", y="y")
    groups = tree(chart).findall(".//g[path]")
    points = [(group.get("class"), dot.get("d")) for group in groups for dot in group.findall("path[@class='dot']")]
    legend = [(item[0].get("class"), item[0][0].get("d")) for item in tree(chart).iter("li")]
    assert len(set(points)) == number
    assert points == legend


@pytest.mark.parametrize(
    "chart",
    [
        lines("Accuracy", {}),
        lines("Accuracy", {"forest": []}),
        lines("Accuracy", {"forest": days(None, None)}, references={"development": 0.9}),
        scatter("Accuracy", {"forest": []}, x="x", y="y"),
        bars("Accuracy", {}),
        bars("Accuracy", {"age": None}),
    ],
)
def test_no_data_is_said(chart: Markup) -> None:
    """Without a value there is no empty picture, but words."""
    assert "Accuracy" in chart
    assert "no value has been recorded" in chart
    assert "<svg" not in chart


@pytest.mark.parametrize("values", [(0.5,), (0.5, 0.5, 0.5), (0,), (-1e99, 1e99), (1e-300, 2e-300), (7, True)])
def test_any_numbers_can_be_drawn(values: tuple[float, ...]) -> None:
    """One value, the same value thrice, and the largest and smallest there are have a place in the picture."""
    charts = [
        lines("l", {"a": days(*values)}, references={"r": values[0]}),
        scatter("s", {"a": [(value, value, "r") for value in values]}, x="x", y="y"),
        bars("b", {f"a{i}": value for i, value in enumerate(values)}),
    ]
    for chart in charts:
        assert len(titles(chart)) == len(values)
        assert not re.search(r'"[^"]*\b(nan|inf|None)\b[^"]*"', chart)


def test_markup_in_names_is_text() -> None:
    """Names that are markup, and characters that XML has not, are shown as far as they can be, everywhere."""
    odd = f"{MARKUP}\x00\ud800"
    charts = [
        lines(odd, {odd: days(1, 2)}, references={odd: 1.0}),
        scatter(odd, {odd: [(1, 2, odd)]}, x=odd, y=odd),
        bars(odd, {odd: 1.0}),
    ]
    for chart in charts:
        assert not re.search(r"<(script|style|b)\b|\sstyle=|\son\w+=|\sid=|href", chart)
        assert titles(chart)[0].startswith(f"{MARKUP}��")
        assert chart.encode()


def test_a_picture_has_a_name_and_its_own_styles_only() -> None:
    """For those who do not see it the picture is an image with a name; nothing of pygal's own looks is left."""
    chart = lines("Accuracy", {"forest": days(1, 2)}, references={"development": 2})
    [picture] = [svg for svg in tree(chart).iter("svg") if svg.get("role") == "img"]
    assert picture.get("aria-label") == "Accuracy: forest, development"
    assert not re.search(r"<(script|style|defs|desc)\b|\sstyle=|\sid=|fill=|pygal", chart, re.IGNORECASE)


def seconds(draw: Callable[[], object]) -> float:
    """Return what a drawing costs at best."""
    costs = []
    for _ in range(3):
        began = time.process_time()
        draw()
        costs.append(time.process_time() - began)
    return min(costs)


def test_points_of_many_models_cost_little_more_than_those_of_one() -> None:
    """A table of runs may have another model in each row; a line for each is drawn in time that grows no faster."""
    many = {f"m{i}": [(i, i, "r")] for i in range(400)}
    one = {"m": [(i, i, "r") for i in range(400)]}
    points = [seconds(lambda dots=dots: scatter("Runs", dots, x="x", y="y")) for dots in (one, many)]  # type: ignore[misc]
    assert points[1] < 3 * points[0]


def test_a_long_series_is_a_line_alone() -> None:
    """Of very many values the line is drawn but not each point, so that a page stays small; points alone all are."""
    points = scatter("Runs", {"forest": [(i, i, "r") for i in range(MOST_DOTS + 1)]}, x="x", y="y")
    assert len(titles(points)) == MOST_DOTS + 1
    chart = lines("Loss", {"train": days(*(1 / (i + 1) for i in range(MOST_DOTS + 1)))})
    assert titles(chart) == []
    assert "<path" in chart
    assert len(chart) < 40_000
