"""Frames of pandas, polars and Arrow as tables. No library is imported: a frame brings its own."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.columns import Column, Table, Values, inferred


def _no_nan(values: Values) -> Values:
    return [value if value == value else None for value in values]


def _of_pandas(frame: Any) -> Table:
    return Table(len(frame), [_pandas_column(str(name), frame.iloc[:, i]) for i, name in enumerate(frame.columns)])


def _pandas_column(name: str, series: Any) -> Column:
    kind = getattr(series.dtype, "kind", "O")
    pandas = sys.modules["pandas"]
    if isinstance(series.dtype, pandas.ArrowDtype):
        return _arrow_column(name, series.array.__arrow_array__())
    plain = isinstance(series.dtype, sys.modules["numpy"].dtype)
    if plain and kind in "biu":
        return Column(name, "boolean" if kind == "b" else "integer", lambda i, j: list(series.iloc[i:j].tolist()))
    if plain and kind == "f":
        return Column(name, "float", lambda i, j: _no_nan(series.iloc[i:j].tolist()))
    if kind in "mM" and hasattr(series.dt, "as_unit"):
        return Column(name, {"m": "duration", "M": "datetime"}[kind], lambda i, j: _pandas_moments(series.iloc[i:j]))
    type_ = _PANDAS.get(type(series.dtype).__name__)
    if type_:
        return Column(name, type_, lambda i, j: _no_nan(series.iloc[i:j].to_numpy(object, na_value=None).tolist()))
    return inferred(name, series.tolist())


_PANDAS = {
    "StringDtype": "text",
    "BooleanDtype": "boolean",
    **{f"{sign}Int{bits}Dtype": "integer" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "Float32Dtype": "float",
    "Float64Dtype": "float",
}
"""A pandas type that numpy does not have -> ours; the others are known by their values."""


def _pandas_moments(series: Any) -> Values:
    counts = series.dt.as_unit("us").astype("int64").tolist()
    absent = series.isna().tolist()
    return [None if gone else count for gone, count in zip(absent, counts, strict=True)] if any(absent) else counts


def _of_polars(frame: Any) -> Table:
    frame = frame.collect() if hasattr(frame, "collect") else frame
    return Table(frame.height, [_polars_column(series) for series in frame.get_columns()])


def _polars_column(series: Any) -> Column:
    dtype = series.dtype
    type_ = next((type_ for test, type_ in _POLARS if test(dtype)), None)
    if type_ is None:
        return inferred(series.name, series.to_list())

    def block(start: int, stop: int) -> Values:
        part = series.slice(start, stop - start)
        if type_ in ("datetime", "duration"):
            part = part.dt.cast_time_unit("us").to_physical()
        elif type_ == "date":
            part = part.to_physical()
        values: Values = part.to_list()
        return _no_nan(values) if type_ == "float" else values

    return Column(series.name, type_, block)


_POLARS: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda dtype: bool(dtype.is_integer()), "integer"),
    (lambda dtype: bool(dtype.is_float()), "float"),
    (lambda dtype: bool(dtype.is_decimal()), "decimal"),
    (lambda dtype: str(dtype) == "Boolean", "boolean"),
    (lambda dtype: str(dtype) == "String", "text"),
    (lambda dtype: str(dtype).startswith(("Categorical", "Enum")), "text"),
    (lambda dtype: str(dtype) == "Date", "date"),
    (lambda dtype: str(dtype).startswith("Datetime"), "datetime"),
    (lambda dtype: str(dtype).startswith("Duration"), "duration"),
    (lambda dtype: str(dtype) == "Time", "time"),
    (lambda dtype: str(dtype) == "Binary", "binary"),
    (lambda dtype: bool(dtype.is_nested()), "nested"),
)
"""A polars type -> ours; the others are known by their values."""


def _of_arrow(table: Any) -> Table:
    return Table(
        table.num_rows, [_arrow_column(str(name), table.column(i)) for i, name in enumerate(table.schema.names)]
    )


def _arrow_column(name: str, values: Any) -> Column:
    types = sys.modules["pyarrow"].types
    kind = values.type
    if types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    type_ = next((type_ for test, type_ in _ARROW if getattr(types, test)(kind)), None)
    if type_ is None:
        return inferred(name, values.to_pylist())
    block = _ARROW_BLOCKS.get(type_, _arrow_values)
    return Column(name, type_, lambda start, stop: block(values.slice(start, stop - start)))


def _arrow_values(part: Any) -> Values:
    return list(part.to_pylist())


def _arrow_moments(part: Any) -> Values:
    pyarrow = sys.modules["pyarrow"]
    unit = pyarrow.duration("us") if pyarrow.types.is_duration(part.type) else pyarrow.timestamp("us", part.type.tz)
    return list(part.cast(unit, safe=False).cast("int64").to_pylist())


def _arrow_numbers(part: Any) -> Values:
    """Return numbers without asking for each one, where nothing is missing."""
    code: Any = _ARROW_CODES.get(str(part.type))
    if code is None or part.null_count:
        return list(part.to_pylist())
    found: Values = []
    for chunk in getattr(part, "chunks", [part]):
        numbers = memoryview(chunk.buffers()[1]).cast("B").cast(code)
        found += numbers[chunk.offset : chunk.offset + len(chunk)].tolist()
    return found


_ARROW_CODES = {
    "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
    "float": "f", "double": "d",
}  # fmt: skip
_ARROW: tuple[tuple[str, str], ...] = (
    ("is_boolean", "boolean"),
    ("is_integer", "integer"),
    ("is_floating", "float"),
    ("is_decimal", "decimal"),
    ("is_string", "text"),
    ("is_large_string", "text"),
    ("is_string_view", "text"),
    ("is_date", "date"),
    ("is_timestamp", "datetime"),
    ("is_time", "time"),
    ("is_duration", "duration"),
    ("is_binary", "binary"),
    ("is_large_binary", "binary"),
    ("is_fixed_size_binary", "binary"),
    ("is_nested", "nested"),
)
"""A test of pyarrow.types -> our type; the others are known by their values."""

_ARROW_BLOCKS: Mapping[str, Callable[[Any], Values]] = {
    "integer": _arrow_numbers,
    "float": lambda part: _no_nan(_arrow_numbers(part)),
    "datetime": _arrow_moments,
    "duration": _arrow_moments,
    "date": lambda part: list(part.cast("date32").cast("int32").to_pylist()),
}

ADAPTERS: Mapping[tuple[str, str], Callable[[Any], Table]] = {
    ("pandas", "DataFrame"): _of_pandas,
    ("polars", "DataFrame"): _of_polars,
    ("polars", "LazyFrame"): _of_polars,
    ("pyarrow", "Table"): _of_arrow,
    ("pyarrow", "RecordBatch"): _of_arrow,
}
"""Library and class of a table -> what reads it."""


def adapted(table: Any) -> Table:
    for kind in type(table).__mro__:
        adapter = ADAPTERS.get((kind.__module__.partition(".")[0], kind.__name__))
        if adapter:
            return adapter(table)
    known = ", ".join(sorted(".".join(kind) for kind in ADAPTERS))
    raise Invalid("table", f"{type(table).__name__} is not one of {known}, or the path of a file")
