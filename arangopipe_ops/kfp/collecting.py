"""What a step collects: how deployments served, from the sources that its parameters name."""

import os
from collections.abc import Mapping
from typing import Any

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.source import Period
from arangopipe_ops.model import canonical
from arangopipe_ops.serving import Configuration, Report, collect, latest, periods
from arangopipe_ops.store import Store


def collected(store: Store, given: Mapping[str, Any]) -> Report:
    """Collect what a component's parameters say. Raises what `serving.collect` raises.

    KFP makes floats of whole numbers in dicts, and hands over empty texts for what was not given.
    """
    told = {name: given[name] for name in ("sources", "every", "timezone") if given.get(name)}
    if given.get("deployments") is not None:
        told["deployments"] = given["deployments"]
    wanted = Configuration.from_json(canonical(told, "parameters"), os.environ)
    return collect(
        store,
        _periods(given, wanted),
        wanted.sources,
        deployments=wanted.deployments,
        on_conflict=given.get("on_conflict") or "revise",
        only_missing=bool(given.get("only_missing")),
    )


def _periods(given: Mapping[str, Any], wanted: Configuration) -> list[Period]:
    since, until = given.get("since"), given.get("until")
    if bool(since) != bool(until):
        raise Invalid("since", "and until: give both of them, or none for the last periods that are over")
    if not since:
        return latest(int(given.get("last") or 1), wanted.every, wanted.timezone)
    found = list(periods(since, until, wanted.every, wanted.timezone))
    if not found:
        raise Invalid("every", f"there is no whole period of {wanted.every} from {since} to {until}")
    return found
