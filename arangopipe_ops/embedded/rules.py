"""What a collection makes of a document before it is stored: computed values, then its schema.

Manual: concepts/data-structure/documents/computed-values, .../schema-validation.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .catalog import Collection
from .errors import ERRORS, ArangoError

if TYPE_CHECKING:
    from .executor import Plan
    from .storage import Document, Transaction

INSERT, UPDATE, REPLACE = "insert", "update", "replace"
EVENTS = (INSERT, UPDATE, REPLACE)
COMPUTED_DEFAULTS = {"computeOn": list(EVENTS), "failOnWarning": False, "keepNull": True}
RESERVED = frozenset(("_key", "_id", "_rev", "_from", "_to"))
LEVELS = ("none", "new", "moderate", "strict")
SCHEMA_DEFAULTS = {"level": "strict", "message": "", "type": "json"}


def prepared(
    transaction: Transaction, collection: Collection, value: Document, old: Document | None, event: str
) -> Document:
    """`value` with its computed values; raises 1620 if it does not have the collection's schema."""
    for computed in collection.properties.get("computedValues") or ():
        if event in computed["computeOn"] and (computed["overwrite"] or computed["name"] not in value):
            value = _with(transaction, collection, value, computed)
    schema = collection.properties.get("schema")
    if schema and _applies(schema, old) and not _is_valid(schema, value):
        raise ArangoError(1620, message=schema["message"] or None)
    return value


# computed values


def _with(transaction: Transaction, collection: Collection, value: Document, computed: dict[str, Any]) -> Document:
    from .context import Context
    from .executor import execute

    plan = _plan(computed["expression"], transaction)
    context = Context(transaction, collection.database, fail_on_warning=computed["failOnWarning"])
    bound = dict.fromkeys(plan.parameters, value)
    (result,) = execute(plan, context, bound).values
    name = computed["name"]
    if result is None and not computed["keepNull"]:
        return {key: item for key, item in value.items() if key != name}
    return value | {name: result}


_plans: dict[str, Plan] = {}


def _plan(expression: str, transaction: Transaction) -> Plan:
    """Planned once: an expression reads no collection, so it is the same in every database."""
    from .planner import plan_query
    from .statements import parsed

    plan = _plans.get(expression)
    if plan is None:
        plan = _plans[expression] = plan_query(parsed(expression).query, transaction, "_system")
    return plan


def checked_computed_values(given: Any) -> list[dict[str, Any]]:
    """The definitions with their defaults; raises 10 for one that is malformed or more than an expression."""
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise ArangoError(10, message="bad parameter: 'computedValues' has to be an array of objects")
    names = [each.get("name") for each in given]
    if len(set(map(str, names))) < len(names):
        raise ArangoError(10, message="bad parameter: 'computedValues' has to have distinct names")
    return [_checked_computed(each) for each in given]


def _checked_computed(given: dict[str, Any]) -> dict[str, Any]:
    computed = COMPUTED_DEFAULTS | given
    name, events = computed.get("name"), computed["computeOn"]
    if not isinstance(name, str) or not name or name in RESERVED:
        raise ArangoError(10, message=f"bad parameter: computed value {name!r} is not an attribute name")
    if not isinstance(events, list) or not events or not all(event in EVENTS for event in events):
        raise ArangoError(10, message=f"bad parameter: 'computeOn' of '{name}' takes {', '.join(EVENTS)}")
    if not all(isinstance(computed.get(flag), bool) for flag in ("overwrite", "failOnWarning", "keepNull")):
        raise ArangoError(10, message=f"bad parameter: 'overwrite' of '{name}' has to be given, flags are booleans")
    _check_expression(name, computed.get("expression"))
    return computed


def _check_expression(name: str, text: Any) -> None:
    from .statements import parsed

    if not isinstance(text, str) or not text.lstrip().upper().startswith("RETURN"):
        raise ArangoError(10, message=f"bad parameter: the expression of '{name}' has to begin with RETURN")
    statement = parsed(text)
    if statement.writes or statement.query.collections or not statement.parameters.names <= {"doc"}:
        raise ArangoError(10, message=f"bad parameter: the expression of '{name}' may only use @doc")


# schemas


def checked_schema(given: Any) -> dict[str, Any] | None:
    """The schema with its defaults; raises 10 for a malformed one, 9 without the package `jsonschema`."""
    if not given:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("rule"), dict):
        raise ArangoError(10, message="bad parameter: 'schema' has to be an object with a 'rule'")
    schema = SCHEMA_DEFAULTS | given
    if schema["level"] not in LEVELS or schema["type"] != "json" or not isinstance(schema["message"], str):
        raise ArangoError(10, message=f"bad parameter: a schema has a level of {', '.join(LEVELS)} and type json")
    _validator(json.dumps(schema["rule"], sort_keys=True))
    return schema


def complaint(given: Any, document: Document) -> str | None:
    """What a schema, at whatever level, says about a document; raises 10 or 9 as `checked_schema` does."""
    schema = checked_schema(given)
    if schema is None or _is_valid(schema, document):
        return None
    return str(schema["message"]) or ERRORS[1620][1]


def _applies(schema: dict[str, Any], old: Document | None) -> bool:
    """`new` looks at insertions, `moderate` also at changes of what was valid, `strict` at everything."""
    level = schema["level"]
    if old is None or level in ("none", "strict"):
        return bool(level != "none")
    return bool(level == "moderate" and _is_valid(schema, old))


def _is_valid(schema: dict[str, Any], document: Document) -> bool:
    body = {name: value for name, value in document.items() if name not in RESERVED}
    return bool(_validator(json.dumps(schema["rule"], sort_keys=True)).is_valid(body))


@lru_cache(maxsize=64)
def _validator(rule: str) -> Any:
    try:
        jsonschema = import_module("jsonschema")
    except ImportError:
        message = "not implemented: schemas need the package jsonschema, install arangopipe-ops[embedded]"
        raise ArangoError(9, message=message) from None
    try:
        jsonschema.Draft7Validator.check_schema(json.loads(rule))
    except jsonschema.SchemaError as error:
        raise ArangoError(10, message=f"bad parameter: the schema's rule is no JSON Schema: {error.message}") from None
    return jsonschema.Draft7Validator(json.loads(rule))
