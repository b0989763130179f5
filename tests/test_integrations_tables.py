"""What a table is: the same from every library, chunk and index."""

import csv
import hashlib
import json
import math
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arangopipe_ops import stages
from arangopipe_ops.errors import Invalid, Misconfigured
from arangopipe_ops.integrations.tables import MAX_DISTINCT, MAX_SUMMARIES, describe
from arangopipe_ops.model import canonical

COLUMNS: dict[str, list[Any]] = {
    "flag": [True, False, True, True],
    "number": [1, -2, 3, 2**62],
    "real": [0.1, None, -2.5, 1e300],
    "name": ["a", "b", None, "🍷 a"],
    "day": [date(2026, 1, 1), date(1969, 12, 31), None, date(2026, 1, 2)],
    "seen": [datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(1969, 7, 20, 20, 17, 40, 5, tzinfo=UTC), None, None],
    "took": [timedelta(seconds=1.5), None, timedelta(days=-1), timedelta(0)],
    "price": [Decimal("1.50"), Decimal("-20"), None, Decimal("0.01")],
    "clock": [time(12), None, time(1, 2, 3), time(12)],
    "raw": [b"\x00", b"", None, b"\xff\x00"],
    "items": [[1, 2], [], None, [3]],
    "nothing": [None, None, None, None],
}


def of_pandas(columns: dict[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})


LIBRARIES: dict[str, Any] = {
    "pandas": of_pandas,
    "pandas-objects": lambda columns: pd.DataFrame({n: pd.Series(v, dtype=object) for n, v in columns.items()}),
    "pandas-nullable": lambda columns: of_pandas(columns).convert_dtypes(),
    "pandas-arrow": lambda columns: pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.DataFrame,
    "polars-lazy": lambda columns: pl.DataFrame(columns).lazy(),
    "arrow": pa.table,
    "arrow-batch": lambda columns: pa.RecordBatch.from_pydict(columns),
    "arrow-chunks": lambda columns: pa.concat_tables([pa.table(columns)[:1], pa.table(columns)[1:]]).combine_chunks()[
        :4
    ],
}

TYPES = {
    "flag": "boolean", "number": "integer", "real": "float", "name": "text", "day": "date", "seen": "datetime",
    "took": "duration", "price": "decimal", "clock": "time", "raw": "binary", "items": "nested", "nothing": "unknown",
}  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_library_gives_the_same_answer(library: str) -> None:
    """Rows, schema, summary, size and checksum of the same values do not depend on where they are kept."""
    found = describe(LIBRARIES[library](COLUMNS))
    assert found["schema"] == TYPES
    assert found == describe(pa.table(COLUMNS))


def test_the_summary_is_right() -> None:
    """The figures are those of the values, by type, with missing ones left out."""
    summary = describe(pa.table(COLUMNS))["summary"]
    assert summary["flag"] == {
        "count": 4, "missing": 0, "distinct": 2, "top": [{"value": True, "count": 3}],
    }  # fmt: skip
    assert summary["number"]["min"] == -2
    assert summary["number"]["max"] == 2**62
    assert summary["name"] == {"count": 3, "missing": 1, "distinct": 3}
    assert (summary["day"]["min"], summary["day"]["max"]) == ("1969-12-31", "2026-01-02")
    assert (summary["seen"]["min"], summary["seen"]["max"]) == (
        "1969-07-20T20:17:40.000005Z",
        "2026-01-01T12:00:00.000Z",
    )
    assert (summary["took"]["min"], summary["took"]["max"]) == (-86400, 1.5)
    assert (summary["price"]["min"], summary["price"]["max"]) == (-20, 1.5)
    assert (summary["clock"]["min"], summary["clock"]["max"]) == ("01:02:03", "12:00:00")
    assert summary["nothing"] == {"count": 0, "missing": 4, "distinct": 0}


def test_the_figures_are_those_of_pandas() -> None:
    """Count, mean and standard deviation of 200,000 values, over several blocks, are those that pandas computes."""
    frame = pd.DataFrame({"x": np.random.default_rng(0).lognormal(3, 2, 200_000), "i": np.arange(200_000) % 97})
    frame.loc[::7, "x"] = np.nan
    summary = describe(frame)["summary"]
    for name in ("x", "i"):
        found, known = summary[name], frame[name].describe()
        assert found["count"] == known["count"]
        for figure in ("mean", "std", "min", "max"):
            assert found[figure] == pytest.approx(known[figure], rel=1e-12)
    assert summary["x"]["distinct"] == MAX_DISTINCT
    assert summary["i"]["distinct"] == 97


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(allow_nan=True)),
            st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
            st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_any_values_give_the_same_answer_that_can_be_stored(rows: list[Any]) -> None:
    """Infinite, missing, huge and odd values are described alike by the three libraries, without NaN."""
    kinds = {"f": pa.float64(), "s": pa.string(), "i": pa.int64()}
    arrays = [pa.array(values, type=kind) for values, kind in zip(zip(*rows, strict=True), kinds.values(), strict=True)]
    table = pa.table(arrays, names=list(kinds))
    found = describe(table)
    assert describe(pl.from_arrow(table)) == found
    assert describe(table.to_pandas(types_mapper={pa.string(): pd.StringDtype()}.get)) == found
    assert canonical(json.loads(json.dumps(found, allow_nan=False))) == canonical(found)


def test_a_checksum_is_of_values_only() -> None:
    """Index, chunks and order of columns do not count."""
    frame = pd.DataFrame({"a": range(150_000), "b": [str(i % 10) for i in range(150_000)]})
    known = describe(frame)
    assert describe(frame.set_index(pd.Index(range(5, 150_005)))) == known
    assert describe(frame[["b", "a"]]) == known
    chunked = pa.concat_tables([pa.Table.from_pandas(frame[i : i + 999]) for i in range(0, 150_000, 999)])
    assert describe(chunked.select(["a", "b"])) == known
    assert describe(pl.concat([pl.from_pandas(frame[:7]), pl.from_pandas(frame[7:])], rechunk=False)) == known


CHANGES = [
    pytest.param({"a": [1, 3, 2], "b": ["x", "y", "z"]}, id="order of rows"),
    pytest.param({"a": [1, 2, 4], "b": ["x", "y", "z"]}, id="a value"),
    pytest.param({"a": [1, 2, None], "b": ["x", "y", "z"]}, id="a missing value"),
    pytest.param({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "z"]}, id="a type"),
    pytest.param({"c": [1, 2, 3], "b": ["x", "y", "z"]}, id="a name"),
    pytest.param({"a": [1, 2, 3], "b": ["xy", "", "z"]}, id="where a text ends"),
    pytest.param({"a": [1, 2], "b": ["x", "y"]}, id="a row less"),
    pytest.param({"a": [1, 2, 3]}, id="a column less"),
    pytest.param({"b": ["1", "2", "3"], "a": ["x", "y", "z"]}, id="swapped columns"),
]


@pytest.mark.parametrize("changed", CHANGES)
@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_another_content_is_another_checksum(library: Any, changed: dict[str, Any]) -> None:
    """A change of any value, type, name or of the order of rows changes the checksum."""
    known = {"a": [1, 2, 3], "b": ["x", "y", "z"]}
    assert describe(library(changed))["checksum"] != describe(library(known))["checksum"]


def test_missing_is_missing() -> None:
    """Null and NaN are the same, and neither is zero or the empty text."""
    null, nan = pa.table({"x": pa.array([1.0, None])}), pl.DataFrame({"x": [1.0, math.nan]})
    assert describe(null) == describe(nan) == describe(pd.DataFrame({"x": [1.0, None]}))
    assert describe(null)["checksum"] != describe(pa.table({"x": [1.0, 0.0]}))["checksum"]


def test_a_category_counts_as_its_value() -> None:
    """A categorical, an enumeration and a dictionary are described as the texts that they stand for."""
    texts = ["a", "b", "a", None]
    known = describe(pa.table({"x": texts}))
    assert describe(pd.DataFrame({"x": pd.Categorical(texts)})) == known
    assert describe(pl.DataFrame({"x": pl.Series(texts, dtype=pl.Categorical)})) == known
    assert describe(pl.DataFrame({"x": pl.Series(texts, dtype=pl.Enum(["b", "a"]))})) == known
    assert describe(pa.table({"x": pa.array(texts).dictionary_encode()})) == known


def test_times_count_in_utc() -> None:
    """A time is the same in every zone and unit, and one without a zone counts as UTC."""
    there = datetime(2026, 1, 1, 3, tzinfo=timezone(timedelta(hours=3)))
    tables: list[Any] = [
        pd.DataFrame({"t": pd.to_datetime(["2026-01-01", None])}),
        pd.DataFrame({"t": pd.Series(pd.to_datetime([there, None])).dt.tz_convert("Asia/Tokyo")}),
        pd.DataFrame({"t": [there, None]}, dtype=object),
        pl.DataFrame({"t": [datetime(2026, 1, 1), None]}, schema={"t": pl.Datetime("ns")}),
        pl.DataFrame({"t": [there, None]}, schema={"t": pl.Datetime("ms", "UTC")}),
        pa.table({"t": pa.array([datetime(2026, 1, 1), None], pa.timestamp("s"))}),
    ]
    answers = [describe(table) for table in tables]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["summary"]["t"]["min"] == "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_infinite_numbers_are_counted_apart(library: Any) -> None:
    """Infinity is no figure that JSON can hold: it is counted, and the figures are of the others."""
    found = describe(library({"x": [1.0, math.inf, -math.inf, 3.0], "y": [1e308] * 4, "z": [-1e308, 1e308] * 2}))[
        "summary"
    ]
    assert (found["x"]["infinite"], found["x"]["min"], found["x"]["max"], found["x"]["mean"]) == (2, 1, 3, 2)
    assert "mean" not in found["y"]
    assert canonical(found) is not None


def test_unsigned_integers_of_64_bits_are_described() -> None:
    """What no signed integer holds is hashed exactly, and told as a real number."""
    big = [2**64 - 1, 2**64 - 2]
    tables = [f({"x": np.array(big, dtype="uint64")}) for f in (pd.DataFrame, pl.DataFrame, pa.table)]
    answers = [canonical(describe(table)) for table in tables]
    assert answers[0] == answers[1] == answers[2]
    assert describe(pa.table({"x": pa.array(big[::-1], pa.uint64())}))["checksum"] != answers[0]["checksum"]


@pytest.mark.parametrize("values", [[1, "a"], [True, 1], [date(2026, 1, 1), datetime(2026, 1, 1)], [object(), 1]])
def test_mixed_objects_are_described(values: list[Any]) -> None:
    """A column of different things is mixed."""
    found = describe(pd.DataFrame({"x": pd.Series(values, dtype=object)}))
    assert found["schema"] == {"x": "mixed"}
    assert found["summary"]["x"]["count"] == 2


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_an_empty_table_is_described(library: Any) -> None:
    """No rows, and no columns, are described as such."""
    assert describe(library({}))["schema"] == {}
    assert describe(library({"x": np.array([], dtype="int64")}))["rows"] == 0


def test_the_answer_is_bounded() -> None:
    """Long texts are cut, and of very many columns only the first have a summary."""
    wide = pa.table({f"c{i:04}": ["x" * 1000] * 2 for i in range(MAX_SUMMARIES + 5)})
    found = describe(wide)
    assert len(found["schema"]) == MAX_SUMMARIES + 5
    assert len(found["summary"]) == MAX_SUMMARIES
    assert len(found["summary"]["c0000"]["top"][0]["value"]) == 100


def test_statistics_can_be_left_out() -> None:
    """Without statistics no value is told, and all else is the same."""
    found = describe(pa.table(COLUMNS))
    summary = found.pop("summary")
    assert summary
    assert describe(pa.table(COLUMNS), statistics=False) == found


def test_it_is_what_a_dataset_is_registered_with() -> None:
    """The answer is attributes of register_dataset, and the same data is the same version."""
    ours, theirs = (stages.register_dataset("d", **describe(f(COLUMNS))).nodes[0] for f in (pl.DataFrame, pa.table))
    assert ours == theirs
    assert ours.content["rows"] == 4


def test_a_subclass_of_a_frame_is_a_frame() -> None:
    """Libraries that extend pandas are read as pandas."""

    class Mine(pd.DataFrame):
        pass

    assert describe(Mine({"x": [1]})) == describe(pd.DataFrame({"x": [1]}))


# --- files -----------------------------------------------------------------------------------------------

LINES = "id,name,price,ok,seen\n1,a,0.5,true,2026-01-01\n2,,,false,\n3,c,1e3,true,2026-01-02\n"


def written(folder: Path, text: str, name: str = "d.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_file_is_described(tmp_path: Path) -> None:
    """Address, checksum and size are those of the file; schema and summary of its values."""
    path = written(tmp_path, LINES)
    found = describe(path)
    assert found["uri"] == path.as_uri()
    assert found["checksum"] == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert (found["size"], found["rows"], found["format"]) == (len(LINES), 3, "csv")
    assert found["schema"] == {"id": "integer", "name": "text", "price": "float", "ok": "boolean", "seen": "text"}
    assert found["summary"]["price"]["mean"] == 500.25
    assert describe(str(path)) == describe(path.as_uri()) == found


@pytest.mark.parametrize("read", [pd.read_csv, pl.read_csv])
def test_a_csv_file_is_what_the_libraries_read(read: Any, tmp_path: Path) -> None:
    """Schema and summary of a CSV file are those of the frame that is read from it."""
    path = written(tmp_path, LINES)
    frame, file = describe(read(path)), describe(path)
    assert (frame["rows"], frame["schema"], frame["summary"]) == (file["rows"], file["schema"], file["summary"])


@pytest.mark.parametrize(
    ("texts", "type_"),
    [
        (["1", "2"], "integer"),
        (["1", "2.5"], "float"),
        (["1"] * 3000 + ["2.5"], "float"),
        (["1"] * 3000 + ["x"], "text"),
        (["true"] * 3000 + ["1"], "text"),
        (["true"] * 3000 + ["1"] * 3000, "text"),
        (["NA"] * 3000 + ["1"], "integer"),
        (["", "null"], "unknown"),
        (["1_000", "2"], "text"),
        (["9" * 30], "float"),
        (["inf", "1"], "float"),
        (["True", "FALSE"], "boolean"),
    ],
)
def test_a_csv_column_has_the_narrowest_type_of_all_its_values(texts: list[str], type_: str, tmp_path: Path) -> None:
    """A value far down the file widens the type of all of them, and none is lost by it."""
    found = describe(written(tmp_path, "x,y\n" + "".join(f"{text},0\n" for text in texts)))
    assert found["schema"]["x"] == type_
    summary = found["summary"]["x"]
    assert summary["count"] == sum(text not in ("", "NA", "null") for text in texts)
    assert summary["count"] + summary["missing"] == found["rows"] == len(texts)
    if type_ == "text":
        assert summary["distinct"] == len(set(texts))


def test_csv_files_of_other_makes_are_read(tmp_path: Path) -> None:
    """Semicolons, tabs, quotes with line breaks, a byte-order mark, blank lines and short rows are understood."""
    known = {"a": "integer", "b": "text"}
    assert describe(written(tmp_path, "a;b\n1;x\n"))["schema"] == known
    assert describe(written(tmp_path, "a\tb\n1\tx\n", "d.tsv"))["schema"] == known
    found = describe(written(tmp_path, '\ufeffa,b\n1,"x\ny"\n\n2\n'))
    assert found["schema"] == known
    assert (found["rows"], found["summary"]["b"]["missing"]) == (2, 1)
    assert describe(written(tmp_path, "a,b\n"))["rows"] == 0
    assert describe(written(tmp_path, ""))["schema"] == {}


def test_csv_needs_no_library(tmp_path: Path) -> None:
    """A CSV file is described without importing pandas, polars, pyarrow or numpy."""
    path = written(tmp_path, LINES)
    program = (
        "import sys; from arangopipe_ops.integrations.tables import describe; "
        f"print(describe({str(path)!r})['rows'], {{'pandas', 'polars', 'pyarrow', 'numpy'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "3 set()\n"


def test_a_parquet_file_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is described as the table in it, whichever library is there to read it, but for checksum and size."""
    path, table = tmp_path / "d.parquet", pa.table(COLUMNS)
    pq.write_table(table, path, row_group_size=2)
    found = describe(path)
    for name in ("rows", "schema", "summary"):
        assert found[name] == describe(table)[name]
    assert found["checksum"] == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert describe(path) == found
    for library in ("polars", "pandas"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Misconfigured, match="pyarrow"):
        describe(path)


def test_another_file_is_told_by_its_bytes(tmp_path: Path) -> None:
    """Of a file of another kind, address, checksum and size are told."""
    assert set(describe(written(tmp_path, "x", "picture.png"))) == {"uri", "checksum", "size"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([1, 2], "table: list is not one of pandas.DataFrame"),
        ("nowhere.csv", "table: 'nowhere.csv' is not a file"),
        ("s3://bucket/d.csv", "table: s3 addresses are not read"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "columns: two are called 'a'"),
    ],
)
def test_what_is_no_table_is_refused(table: Any, said: str) -> None:
    """Other objects, missing files, remote addresses and two columns of one name are refused by name."""
    with pytest.raises(Invalid) as caught:
        describe(table)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,b\n1,2\n1,2,3\n", "a row before line 4 has more fields than the first line, which has 2"),
        (b"a,b\n\xff,2\n", "is not UTF-8 text"),
        (b'a,b\n"' + b"x" * (csv.field_size_limit() + 1) + b'",2\n', "is not CSV"),
    ],
)
def test_a_broken_csv_file_is_refused(data: bytes, said: str, tmp_path: Path) -> None:
    """Rows that are too long, other encodings and endless fields are refused, saying where."""
    path = tmp_path / "d.csv"
    path.write_bytes(data)
    with pytest.raises(Invalid, match=said):
        describe(path)


@pytest.mark.slow
def test_a_million_rows_take_seconds() -> None:
    """A table of 1,000,000 rows and ten columns is described in less than 20 s, also on a busy machine."""
    random = np.random.default_rng(0)
    frame = pl.DataFrame({f"c{i}": random.normal(size=1_000_000) for i in range(10)})
    start = datetime.now(UTC)
    describe(frame)
    assert datetime.now(UTC) - start < timedelta(seconds=20)
