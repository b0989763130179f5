"""The graph as data: values, keys, references, stages."""

import enum
import math
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import (
    MAX_DEPTH,
    MAX_DOCUMENT_BYTES,
    SCHEMA,
    Stage,
    Target,
    canonical,
    canonical_text,
    digest,
    edge_key,
    key_of,
    moment,
    target,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(JSON)
def test_canonical_is_stable(value: object) -> None:
    """Making a value canonical twice is the same as once, and equal values have equal digests."""
    once = canonical(value)
    assert canonical(once) == once
    assert digest(once) == digest(canonical(value))


@pytest.mark.parametrize(
    ("value", "same"),
    [
        (1.0, 1),
        (-0.0, 0),
        ((1, 2), [1, 2]),
        ({"b": 1, "a": 2.0}, {"a": 2, "b": 1}),
        ({1: "x"}, {"1": "x"}),
        ({3, 1, 2}, [1, 2, 3]),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([1.0, 2.5]), [1, 2.5]),
        (datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T00:00:00.000Z"),
        (date(2026, 1, 1), "2026-01-01"),
        (Path("a/b"), "a/b"),
        (enum.Enum("Colour", {"RED": "red"})("red"), "red"),
    ],
)
def test_canonical_undoes_what_orchestrators_do(value: object, same: object) -> None:
    """A value has one canonical form, whichever type it comes in."""
    assert canonical_text(canonical(value)) == canonical_text(same)


def cyclic() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


def deep() -> object:
    value: object = 1
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (np.array([1.0, math.nan]), "nan"),
        (2**63, "64 bits"),
        (datetime(2026, 1, 1), "without a zone"),
        (pd.NaT, "missing value"),
        (pd.NA, "missing value"),
        (cyclic(), "refers to itself"),
        (deep(), "nested deeper"),
        (b"bytes", "bytes cannot be stored"),
        (object(), "object cannot be stored"),
        ({None: 1}, "not text"),
        ({1: "a", "1": "b"}, "the same"),
        ("\ud800", "surrogate"),
    ],
)
def test_canonical_refuses_what_json_cannot_hold(value: object, says: str) -> None:
    """What cannot be stored is refused with the path that leads to it."""
    with pytest.raises(Invalid, match=says) as refused:
        canonical({"outer": {"inner": value}}, "params")
    assert refused.value.path.startswith("params.outer.inner")


@pytest.mark.parametrize(
    "name",
    [
        "wine",
        "a/b",
        'say "hi"',
        "it's",
        "🍷",
        "x" * 5000,
        "a-b",
        "a_b",
        " ",
        "ÄÖ",
        "\x00",
        "модель",
        "%2F",
        "a\nb",
    ],
)
def test_keys_are_valid_for_any_name(name: str) -> None:
    """A key is made of characters that ArangoDB allows and is at most 254 bytes long, whatever the name."""
    import re

    key = key_of("Project", [name])
    assert re.fullmatch(r"[A-Za-z0-9_\-]{1,254}", key)


@given(st.lists(st.tuples(st.text(), st.text()), unique=True, min_size=2, max_size=20))
def test_different_identities_have_different_keys(identities: list[tuple[str, str]]) -> None:
    """No two identities share a key, nor do two kinds with the same identity."""
    identities = [pair for pair in identities if all(part.isprintable() for part in pair)]
    keys = [key_of("Dataset", pair) for pair in identities] + [key_of("Model", pair) for pair in identities]
    assert len(set(keys)) == len(keys)


def test_keys_are_pinned() -> None:
    """Keys and digests are stored data: they never change between releases."""
    assert key_of("Dataset", ["wine quality", "v1"]) == "wine_quality-e9cc280781bf9307936cd4ad6b8be1fe"
    assert edge_key("project_models", "project/a", "models/b") == "64020c8fc02a5616f47c53c60e75f79278d93883"


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("wine", Target("datasets", name="wine")),
        ("a/b", Target("datasets", name="a/b")),
        ("datasets/wine-1", Target("datasets", key="wine-1", name="datasets/wine-1")),
        ({"_id": "datasets/wine-1", "name": "wine"}, Target("datasets", key="wine-1")),
        ({"name": "wine"}, Target("datasets", name="wine")),
        ({"name": "wine", "version": "1"}, Target("datasets", key=key_of("Dataset", ["wine", "1"]))),
    ],
)
def test_references(reference: object, found: Target) -> None:
    """A reference is a Ref, an _id or a name; a text that could be an _id or a name is looked up as both."""
    assert target("Dataset", reference) == found


@pytest.mark.parametrize("reference", ["", None, 3, {}, {"_id": "models/x"}, {"_id": "datasets/"}, ["wine"]])
def test_what_is_no_reference_is_refused(reference: object) -> None:
    """A reference to another kind, or to nothing, is refused before anything is sent."""
    with pytest.raises(Invalid, match="Dataset"):
        target("Dataset", reference)


def test_version_is_the_digest_of_the_content() -> None:
    """The same content is the same version; annotations do not make a new one, changed content does."""
    stage = Stage()
    one = stage.add("Dataset", {"name": "wine", "rows": 178})
    noted = Stage().add("Dataset", {"name": "wine", "rows": 178.0, "description": "from Italy", "tags": ["a"]})
    changed = Stage().add("Dataset", {"name": "wine", "rows": 179})
    assert one.key == noted.key
    assert one.key != changed.key
    assert noted.notes == {"description": "from Italy", "tags": ["a"]}


@pytest.mark.parametrize("name", ["_key", "_anything", "created", "digest", "provenance", "active_slot"])
def test_attributes_of_the_store_are_refused(name: str) -> None:
    """An attribute that the store sets itself cannot be given."""
    with pytest.raises(Invalid, match="set by the store"):
        Stage().add("Project", {"name": "p", name: 1})


@pytest.mark.parametrize("name", [None, "", "  ", 3])
def test_identity_is_text(name: object) -> None:
    """A node without a name is refused."""
    with pytest.raises(Invalid, match=r"Project\.name"):
        Stage().add("Project", {"name": name})


def test_an_oversized_document_is_refused() -> None:
    """A document larger than the bound is refused with the cure."""
    with pytest.raises(Invalid, match="register its URI"):
        Stage().add("Dataset", {"name": "big", "data": "x" * MAX_DOCUMENT_BYTES})


def test_a_stage_holds_every_node_once() -> None:
    """The same node twice is one node; the same identity with two contents is refused."""
    stage = Stage()
    assert stage.add("Project", {"name": "p"}) is stage.add("Project", {"name": "p"})
    with pytest.raises(Invalid, match="twice"):
        stage.add("Project", {"name": "p", "owner_team": "x"})


@pytest.mark.parametrize(
    ("value", "utc"),
    [
        ("2026-03-29", "2026-03-29T00:00:00.000Z"),
        ("2026-03-29T02:00:00+02:00", "2026-03-29T00:00:00.000Z"),
        ("2026-03-29 00:00:00Z", "2026-03-29T00:00:00.000Z"),
        (date(2026, 3, 29), "2026-03-29T00:00:00.000Z"),
        (datetime(2026, 3, 29, 0, 0, 0, 1, tzinfo=UTC), "2026-03-29T00:00:00.000001Z"),
    ],
)
def test_moments_are_utc(value: object, utc: str) -> None:
    """A time in any zone, as text or not, is one moment in UTC."""
    assert moment(value, "at") == utc


def test_every_edge_joins_known_kinds() -> None:
    """The table of edges names only kinds of the table of nodes."""
    assert {kind for edge in SCHEMA.edges.values() for kind in (edge.source, edge.target)} <= set(SCHEMA.nodes)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_times_that_no_year_has_in_utc(at: str) -> None:
    """A time that is outside of the calendar once it is UTC is refused."""
    with pytest.raises(Invalid, match="years 1 to 9999"):
        moment(at, "at")


def test_a_reference_within_a_reference() -> None:
    """A name is text, also in a reference without a version."""
    with pytest.raises(Invalid, match=r"Dataset\.name"):
        target("Dataset", {"name": {"name": "wine"}})
