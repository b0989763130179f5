"""Has the data changed? Current data against reference data, column by column and as a whole.

A table is a mapping of column -> sequence, a pandas or polars frame, an Arrow table, or a numpy array (its
columns are called "0", "1", ...). Everything is deterministic by `seed`. SciPy and scikit-learn are needed:
pip install 'arangopipe-ops[drift]'.

The methods, and where they come from:

- Kolmogorov-Smirnov, two samples: the largest distance of the two distribution functions.
- Chi-squared, two samples, for categories; by simulation under fixed margins where counts are small.
- Population stability index (PSI): sum of (q - p) ln(q / p) over bins, p and q being the shares of reference and
  current data. Below 0.1 nothing to do, 0.1 to 0.25 look into it, above it a major shift: a rule of thumb of
  credit scoring (Lewis, An Introduction to Credit Scoring, 1994; Siddiqi, Credit Risk Scorecards, 2006). The
  rule knows no sample size, but PSI does: without any shift it is about (1/n + 1/m) times a chi-squared
  variable of (bins - 1) degrees of freedom (Yurdakul, Statistical Properties of the Population Stability Index,
  2018), that is 0.18 on average for ten bins and 100 rows each.
- Classifier two-sample test (Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017): if a
  classifier can tell current rows from reference rows, better than chance, on rows that it was not trained on,
  they differ. It sees changes of how columns depend on each other, which no test of single columns can.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from numbers import Real
from typing import Any, Literal

from arangopipe_ops.errors import Invalid, Misconfigured

PSI_MODERATE, PSI_MAJOR = 0.1, 0.25

Correction = Literal["holm", "benjamini-hochberg", "none"]
Array = Any  # numpy is imported where it is used

_MAX_CATEGORIES = 100
_JOINT_CATEGORIES = 20
_SMALL_COUNT = 5
_SIMULATIONS = 4999
_EXACT_ROWS = 100
_FEW_VALUES = 20
_FOURIER_FEATURES = 100
_RIDGE = 1.0


def drift(
    reference: Any,
    current: Any,
    columns: Sequence[str] | None = None,
    *,
    alpha: float = 0.05,
    correction: Correction = "holm",
    categorical: Sequence[str] = (),
    bins: int = 10,
    least_psi: float = 0.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return a row for each column: how far current data is from reference data, and whether that is drift.

    `drifted` says that `p_adjusted` is at most `alpha` and `psi` at least `least_psi`. With the correction of Holm,
    `alpha` is the probability that any column at all of unchanged data is called drifted, whatever the number of
    columns and the sizes of both tables; Benjamini-Hochberg bounds the share of false ones among those found
    instead. In large tables the smallest change is sure without being important: there set `least_psi`, for
    example to PSI_MODERATE.

    Numbers and times are tested by Kolmogorov-Smirnov, where a missing value counts as less than every number, so
    that a change of the missing share is drift too. Everything else, the columns named in `categorical`, and
    numbers of which both tables together have 20 or fewer, by chi-squared, missing being one more category; of
    very many categories the most frequent are told apart.

    `psi` is of `bins` quantile bins of the reference (a value that fills a bin alone is a bin of its own, and so
    is missing), smoothed by half a row in each. `psi_by_chance` is what one unchanged column in 1/`alpha` exceeds
    at these sizes. `change` is "none", "moderate" or "major" by the usual limits, and "none" below `psi_by_chance`.

    Raises Invalid for tables without rows and columns that one of them lacks, Misconfigured without the extra.
    """
    _check_share("alpha", alpha)
    if bins < 2:
        raise Invalid("bins", f"{bins} is less than 2")
    if correction not in _CORRECTIONS:
        raise Invalid("correction", f"{correction!r} is not one of {', '.join(_CORRECTIONS)}")
    pairs = _pairs(reference, current, columns, categorical)
    rows = [_compared(pair, alpha, bins, seed) for pair in pairs]
    adjusted = _CORRECTIONS[correction]([row["p_value"] for row in rows])
    for row, p_adjusted in zip(rows, adjusted, strict=True):
        row["p_adjusted"] = p_adjusted
        row["drifted"] = p_adjusted <= alpha and row["psi"] >= least_psi
    return rows


def joint_drift(
    reference: Any,
    current: Any,
    columns: Sequence[str] | None = None,
    *,
    alpha: float = 0.05,
    categorical: Sequence[str] = (),
    permutations: int = 499,
    folds: int = 5,
    max_rows: int = 5000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return whether a classifier can tell the rows of the two tables apart: the classifier two-sample test.

    The classifier is a ridge classifier on ranks, missing marks, categories and random Fourier features of them,
    cross-validated in `folds`. `balanced_accuracy` is the mean of the shares of both tables' rows that it told
    right, so it is 0.5 by chance, however unequal their sizes. `p_value` is of a permutation test: the whole
    cross-validation is done again on `permutations` exchanges of rows between the tables, which is exact at any
    size. `drifted` says that it is at most `alpha`. Of a longer table `max_rows` rows are drawn by `seed`.

    Raises Invalid for tables without rows, fewer than 2 * `folds` rows in one, and columns that one of them lacks;
    Misconfigured without the extra.
    """
    np = _module("numpy")
    _check_share("alpha", alpha)
    if folds < 2:
        raise Invalid("folds", f"{folds} is less than 2")
    if permutations * alpha < 1 - alpha:
        raise Invalid("permutations", f"{permutations} can show no p-value of {alpha}")
    random = np.random.default_rng(seed)
    pairs = _draw(_pairs(reference, current, columns, categorical, aligned=True), max_rows, random)
    sizes = [len(side) for side in (pairs[0].reference, pairs[0].current)]
    for name, size in zip(("reference", "current"), sizes, strict=True):
        if size < 2 * folds:
            raise Invalid(name, f"has {size} rows; the classifier needs {2 * folds} or more for {folds} folds")
    labels = np.repeat([0.0, 1.0], sizes)
    shuffled = [labels, *(random.permutation(labels) for _ in range(permutations))]
    # Small products, for which threads cost more than they give; and one thread always adds in the same order.
    with _module("threadpoolctl").threadpool_limits(1, "blas"):
        scores = _cross_validated(_features(pairs, random), np.column_stack(shuffled), folds, random)
    reached = int(np.sum(scores[1:] >= scores[0] - 1e-12))
    p_value = (1 + reached) / (1 + permutations)
    return {
        "test": "classifier two-sample",
        "balanced_accuracy": float(scores[0]),
        "p_value": p_value,
        "drifted": p_value <= alpha,
        "columns": len(pairs),
        "reference_rows": sizes[0],
        "current_rows": sizes[1],
    }


# --- columns ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """One column of both tables. Numbers are floats, NaN where missing; categories are objects, None where missing."""

    name: str
    kind: Literal["numeric", "categorical"]
    reference: Array
    current: Array


def _pairs(
    reference: Any,
    current: Any,
    columns: Sequence[str] | None,
    categorical: Sequence[str],
    aligned: bool = False,
) -> list[_Pair]:
    tables = {"reference": _columns("reference", reference), "current": _columns("current", current)}
    names = list(columns) if columns is not None else list(dict.fromkeys(n for t in tables.values() for n in t))
    for table, found in tables.items():
        missing = [name for name in [*names, *categorical] if name not in found]
        if missing:
            raise Invalid(table, f"has no column {missing[0]!r}; its columns are {', '.join(found) or 'none'}")
        empty = [name for name in names if len(found[name]) == 0]
        if empty or not names:
            raise Invalid(table, "has no rows" if empty else "has no columns")
        if aligned and len({len(found[name]) for name in names}) > 1:
            raise Invalid(table, "has columns of different lengths")
    ours, theirs = tables.values()
    return [_pair(name, ours[name], theirs[name], name in categorical) for name in names]


def _columns(path: str, table: Any) -> dict[str, Any]:
    """Return the columns of a table by name. Raises Invalid."""
    if isinstance(table, Mapping):
        return {str(name): table[name] for name in table}
    if hasattr(table, "collect"):
        table = table.collect()
    names = getattr(table, "column_names", None) or getattr(table, "columns", None)
    if names is not None and hasattr(table, "__getitem__"):
        return {str(name): table[name] for name in names}
    if getattr(getattr(table, "dtype", None), "names", None):
        return {name: table[name] for name in table.dtype.names}
    if hasattr(table, "ndim") and table.ndim in (1, 2):
        parts = [table] if table.ndim == 1 else list(table.T)
        return {str(i): part for i, part in enumerate(parts)}
    raise Invalid(path, f"{type(table).__name__} is no table; give a mapping of columns, a frame or an array")


def _pair(name: str, reference: Any, current: Any, categorical: bool) -> _Pair:
    sides = [_plain(name, side) for side in (reference, current)]
    numbers = None if categorical else [_numbers(side) for side in sides]
    if numbers is not None and numbers[0] is not None and numbers[1] is not None:
        return _Pair(name, "numeric", numbers[0], numbers[1])
    return _Pair(name, "categorical", *(_categories(side) for side in sides))


def _plain(name: str, column: Any) -> Array:
    """Return a column as a one-dimensional numpy array. Raises Invalid."""
    np = _module("numpy")
    if isinstance(column, str | bytes) or not (isinstance(column, Sequence) or hasattr(column, "__array__")):
        raise Invalid(name, f"{type(column).__name__} is not a sequence of values")
    if hasattr(column, "__array__"):
        found = np.asarray(column)
    else:
        found = np.empty(len(column), dtype=object)
        found[:] = list(column)
    if found.ndim != 1:
        raise Invalid(name, f"has {found.ndim} dimensions, not one")
    return found


def _numbers(values: Array) -> Array | None:
    """Return numbers and times as floats with NaN for missing ones; None if other values are among them."""
    np = _module("numpy")
    if values.dtype.kind in "iuf":
        return values.astype(float)
    if values.dtype.kind in "mM":
        unit = values.astype(f"{values.dtype.kind}8[us]")
        return np.where(np.isnat(unit), np.nan, unit.astype("int64") / 1e6)
    if values.dtype.kind != "O":
        return None
    converted = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if not _is_missing(value):
            convert = next((convert for types, convert in _NUMBERS if isinstance(value, types)), None)
            if convert is None or isinstance(value, bool | np.bool_):
                return None
            converted[i] = convert(value)
    return converted


def _since_epoch(value: datetime) -> float:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


# The order matters: a datetime is a date.
_NUMBERS: tuple[tuple[Any, Callable[[Any], float]], ...] = (
    ((Real, Decimal), float),
    (datetime, _since_epoch),
    (date, lambda value: _since_epoch(datetime.combine(value, time()))),
    (timedelta, lambda value: value.total_seconds()),
)


def _is_missing(value: Any) -> bool:
    named = type(value).__name__ in ("NAType", "NaTType")
    return value is None or named or (isinstance(value, Real | Decimal) and value != value)


def _categories(values: Array) -> Array:
    """Return values as text, for which equality is sure, with None for missing ones."""
    np = _module("numpy")
    found = np.empty(len(values), dtype=object)
    found[:] = [None if _is_missing(value) else str(value) for value in values.tolist()]
    return found


def _missing(values: Array) -> Array:
    np = _module("numpy")
    return np.isnan(values) if values.dtype.kind == "f" else np.equal(values, None)


# --- one column ------------------------------------------------------------------------------------------


def _compared(pair: _Pair, alpha: float, bins: int, seed: int) -> dict[str, Any]:
    stats = _module("scipy.stats")
    test, binned = _KINDS[pair.kind]
    name, statistic, p_value = test(pair, seed)
    counts = binned(pair, bins)
    psi = _stability(*counts)
    spread = sum(1 / len(side) for side in (pair.reference, pair.current))
    by_chance = float(stats.chi2.ppf(1 - alpha, len(counts[0]) - 1)) * spread if len(counts[0]) > 1 else 0.0
    return {
        "name": pair.name,
        "kind": pair.kind,
        "test": name,
        "statistic": statistic,
        "p_value": p_value,
        "psi": psi,
        "psi_by_chance": by_chance,
        "change": _change(psi, by_chance),
        "reference_rows": len(pair.reference),
        "current_rows": len(pair.current),
        "reference_missing": float(_missing(pair.reference).mean()),
        "current_missing": float(_missing(pair.current).mean()),
    }


def _change(psi: float, by_chance: float) -> str:
    if psi < max(PSI_MODERATE, by_chance):
        return "none"
    return "moderate" if psi < PSI_MAJOR else "major"


def _compared_numbers(pair: _Pair, seed: int) -> tuple[str, float, float]:
    """Compare distribution functions; where few values are shared, which hides a shift from them, their counts."""
    np, stats = _module("numpy"), _module("scipy.stats")
    sides = [np.where(np.isnan(side), -np.inf, side) for side in (pair.reference, pair.current)]
    values = np.unique(np.concatenate(sides))
    if len(values) <= _FEW_VALUES:
        counts = [np.bincount(np.searchsorted(values, side), minlength=len(values)) for side in sides]
        return _chi_squared(counts[0], counts[1], seed)
    exact = max(map(len, sides)) <= _EXACT_ROWS
    found = stats.ks_2samp(*sides, method="exact" if exact else "asymp")
    return "kolmogorov-smirnov", float(found.statistic), float(found.pvalue)


def _compared_categories(pair: _Pair, seed: int) -> tuple[str, float, float]:
    return _chi_squared(*_category_counts(pair), seed)


def _chi_squared(reference: Array, current: Array, seed: int) -> tuple[str, float, float]:
    """Compare counts of categories; by simulation of tables with the same margins where some are small."""
    np, stats = _module("numpy"), _module("scipy.stats")
    table = np.array([reference, current])
    if table.shape[1] < 2:
        return "chi-squared", 0.0, 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    if expected.min() >= _SMALL_COUNT:
        return "chi-squared", statistic, float(stats.chi2.sf(statistic, table.shape[1] - 1))
    tables = stats.random_table(table.sum(axis=1), table.sum(axis=0), seed=np.random.default_rng(seed))
    simulated = ((tables.rvs(_SIMULATIONS) - expected) ** 2 / expected).sum(axis=(1, 2))
    reached = int(np.sum(simulated >= statistic * (1 - 1e-9)))
    return "chi-squared", statistic, (1 + reached) / (1 + _SIMULATIONS)


def _category_counts(pair: _Pair, bins: int = 0) -> tuple[Array, Array]:
    """Return the counts of each category, missing among them; the rare ones of very many count as one."""
    np = _module("numpy")
    sides = [[("", 0) if value is None else (value, 1) for value in side] for side in (pair.reference, pair.current)]
    codes: dict[tuple[str, int], int] = {}
    coded = [np.array([codes.setdefault(value, len(codes)) for value in side]) for side in sides]
    counts = [np.bincount(side, minlength=len(codes)) for side in coded]
    order = np.argsort(-(counts[0] + counts[1]), kind="stable")
    common, rare = order[:_MAX_CATEGORIES], order[_MAX_CATEGORIES:]
    parts = [np.append(count[common], [count[rare].sum()] if len(rare) else []).astype("int64") for count in counts]
    return parts[0], parts[1]


def _quantile_counts(pair: _Pair, bins: int) -> tuple[Array, Array]:
    """Return the counts of the reference's quantile bins, missing values in one of their own."""
    np = _module("numpy")
    sides = (pair.reference, pair.current)
    present = [side[~np.isnan(side)] for side in sides]
    cuts, points = _cuts(present[0] if len(present[0]) else present[1], bins)
    places = [
        sum(np.searchsorted(at, side, how) for at, how in ((cuts, "left"), (points, "left"), (points, "right")))
        for side in present
    ]
    width = len(cuts) + 2 * len(points) + 1
    counts = [
        np.append(np.bincount(place, minlength=width), len(side) - len(place))
        for place, side in zip(places, sides, strict=True)
    ]
    filled = (counts[0] + counts[1]) > 0
    return counts[0][filled], counts[1][filled]


def _cuts(values: Array, bins: int) -> tuple[Array, Array]:
    """Return the ends of quantile bins, and apart from them the single values that fill a bin alone."""
    np = _module("numpy")
    distinct = np.unique(values)
    if len(distinct) <= bins:
        return np.array([]), distinct
    ends, times = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf"), return_counts=True)
    return ends[times == 1], ends[times > 1]


def _stability(reference: Array, current: Array) -> float:
    np = _module("numpy")
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (reference, current))
    return max(0.0, float(np.sum((q - p) * np.log(q / p))))


_KINDS: Mapping[str, tuple[Callable[..., tuple[str, float, float]], Callable[..., tuple[Array, Array]]]] = {
    "numeric": (_compared_numbers, _quantile_counts),
    "categorical": (_compared_categories, _category_counts),
}
"""Kind of column -> its test, and how its values are binned for PSI."""


# --- many columns ----------------------------------------------------------------------------------------


def _holm(p_values: Sequence[float]) -> list[float]:
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted


def _benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    return [float(p) for p in _module("scipy.stats").false_discovery_control(p_values)]


_CORRECTIONS: Mapping[str, Callable[[Sequence[float]], list[float]]] = {
    "holm": _holm,
    "benjamini-hochberg": _benjamini_hochberg,
    "none": list,
}


# --- all columns together --------------------------------------------------------------------------------


def _draw(pairs: Sequence[_Pair], most: int, random: Any) -> list[_Pair]:
    """Return the pairs with no more than `most` rows of each table, the same rows of every column."""

    def picked(size: int) -> Array:
        return random.permutation(size)[:most]

    ours, theirs = picked(len(pairs[0].reference)), picked(len(pairs[0].current))
    return [_Pair(pair.name, pair.kind, pair.reference[ours], pair.current[theirs]) for pair in pairs]


def _features(pairs: Sequence[_Pair], random: Any) -> Array:
    """Return what the classifier sees of the rows of both tables. It is made without knowing which row is whose."""
    np = _module("numpy")
    plain = np.column_stack([feature for pair in pairs for feature in _ENCODED[pair.kind](pair)])
    plain = plain[:, plain.std(axis=0) > 0]
    if not plain.shape[1]:
        return np.zeros((len(pairs[0].reference) + len(pairs[0].current), 1))
    plain = _module("sklearn.preprocessing").StandardScaler().fit_transform(plain)
    # The usual width of the kernel: one over the number of features, as in scikit-learn's gamma="scale".
    fourier = _module("sklearn.kernel_approximation").RBFSampler(
        gamma=1 / plain.shape[1], n_components=_FOURIER_FEATURES, random_state=int(random.integers(2**31))
    )
    curved = _module("sklearn.preprocessing").StandardScaler().fit_transform(fourier.fit_transform(plain))
    return np.column_stack([plain, plain**2 - 1, curved])


def _ranks(pair: _Pair) -> list[Array]:
    """Return ranks, which no outlier moves, and where values are missing."""
    np, stats = _module("numpy"), _module("scipy.stats")
    values = np.concatenate([pair.reference, pair.current])
    missing = np.isnan(values)
    ranks = np.zeros(len(values))
    if not missing.all():
        present = stats.rankdata(values[~missing])
        ranks[~missing] = present / (len(present) + 1) - 0.5
    return [ranks, missing.astype(float)]


def _indicators(pair: _Pair) -> list[Array]:
    np = _module("numpy")
    values = np.concatenate([pair.reference, pair.current])
    present = values[~_missing(values)].astype(str)
    names, counts = np.unique(present, return_counts=True)
    common = names[np.argsort(-counts, kind="stable")][:_JOINT_CATEGORIES]
    return [_missing(values).astype(float), *((values == name).astype(float) for name in common)]


_ENCODED: Mapping[str, Callable[[_Pair], list[Array]]] = {"numeric": _ranks, "categorical": _indicators}


def _cross_validated(features: Array, labels: Array, folds: int, random: Any) -> Array:
    """Return the balanced accuracy of each column of `labels`, every row told by a classifier that did not see it.

    Least squares are linear in the labels, so all columns are fitted by one solution of each fold. The rows of a
    fold are drawn without looking at labels, or exchanging them would not be fair.
    """
    np = _module("numpy")
    parts = np.array_split(random.permutation(len(features)), folds)
    told = np.empty(labels.shape, dtype=bool)
    for part in parts:
        others = np.concatenate([other for other in parts if other is not part])
        told[part] = _told(features[others], labels[others], features[part])
    right = labels.sum(axis=0)
    sensitivity = (told * labels).sum(axis=0) / right
    specificity = (~told * (1 - labels)).sum(axis=0) / (len(labels) - right)
    return (sensitivity + specificity) / 2


def _told(seen: Array, labels: Array, unseen: Array) -> Array:
    """Return for each column of labels which unseen rows lie on the side of the rows that are labelled 1."""
    np, linalg = _module("numpy"), _module("scipy.linalg")
    middle = seen.mean(axis=0)
    seen, unseen = seen - middle, unseen - middle
    ones = np.maximum(labels.sum(axis=0), 1)
    zeros = np.maximum(len(labels) - labels.sum(axis=0), 1)
    sums = seen.T @ labels
    within = seen.T @ seen + _RIDGE * np.eye(seen.shape[1])
    weights = linalg.solve(within, sums, assume_a="pos")
    # The border lies half-way between both means, not at the mean of all rows, which leans to the longer table.
    border = (weights * (sums / ones - sums / zeros)).sum(axis=0) / 2
    return unseen @ weights > border


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise Invalid(name, f"{value} is not between 0 and 1")


def _module(name: str) -> Any:
    """Return a module of the extra. Raises Misconfigured where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise Misconfigured("drift needs SciPy and scikit-learn: pip install 'arangopipe-ops[drift]'") from error
