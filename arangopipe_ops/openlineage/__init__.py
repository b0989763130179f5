"""OpenLineage events into the graph as they happen."""

from collections.abc import Iterable

from arangopipe_ops.errors import NotFound
from arangopipe_ops.integrations.openlineage import Event, completed, facts_of, stages_of
from arangopipe_ops.model import OWN, Document, Ref, Stage
from arangopipe_ops.store import Store


def record(store: Store, events: Iterable[Event]) -> None:
    """Write what events tell of runs and data sets; what is stored already and not told anew stays.

    So the events of one run may come one at a time, from several processes, more than once and in any order.
    A run that names nodes of the graph that are not stored is written without them. Raises Invalid for
    what is no event, and the errors of `Store.write_all`.
    """
    for stage in stages_of(events):
        if any(not ref["created"] for ref in _written(store, stage)):
            facts = facts_of(stage)
            facts = completed(facts, {node.id: _stored(store, node.id) for node in facts.nodes})
            if facts.nodes or facts.edges:
                store.write_all(facts, on_conflict="revise")


def _written(store: Store, stage: Stage) -> list[Ref]:
    try:
        return store.write_all(stage, on_conflict="keep")
    except NotFound as error:
        missing = set(error.references)
        stage.edges = [edge for edge in stage.edges if not {str(edge.source), str(edge.target)} & missing]
        return store.write_all(stage, on_conflict="keep")


def _stored(store: Store, id: str) -> Document:
    try:
        found = store.get(id)
    except NotFound:  # deleted since
        return {}
    return {name: value for name, value in found.items() if name not in OWN and not name.startswith("_")}
