"""The original Arangopipe's API, names and answers alike, on the store: programs written for it run on this graph.

    from arangopipe_ops.compat import ArangoPipe, ArangoPipeAdmin, ArangoPipeConfig

What differs from arangopipe 0.0.70.0.2 is what was wrong with it: every registration is whole or not there, and may
be repeated; names are unique under concurrency; a run keeps its tag; a reference that leads nowhere is `NotFound`
instead of an IndexError; no password is written to a file, and nothing is printed or logged to the working directory.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from arangopipe_ops import admin, model, stages
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Conflict, Invalid, Misconfigured, NotFound
from arangopipe_ops.model import GRAPH, Document, EdgeType, NodeType, Ref, Stage, edge_key
from arangopipe_ops.store import Store, driver_errors

if TYPE_CHECKING:
    from arango.database import StandardDatabase

__all__ = [
    "ArangoPipe",
    "ArangoPipeAdmin",
    "ArangoPipeConfig",
    "ManagedServiceConnParam",
    "arango_pipe_connections",
]

log = logging.getLogger(__name__)

DEFAULT_PROJECT = "Wine-Quality-Regression-Modelling"
_SECRETS = ("password", "root_user_password")

Config = Mapping[str, Any]
Meta = dict[str, str]
"""`_id`, `_key` and `_rev` of a stored document."""


class ManagedServiceConnParam:
    """The names of the settings of a connection."""

    DB_SERVICE_HOST = "DB_service_host"
    DB_SERVICE_END_POINT = "DB_end_point"
    DB_SERVICE_NAME = "DB_service_name"
    DB_SERVICE_PORT = "DB_service_port"
    DB_NAME = "dbName"
    DB_REPLICATION_FACTOR = "arangodb_replication_factor"
    DB_USER_NAME = "username"
    DB_PASSWORD = "password"
    DB_ROOT_USER = "root_user"
    DB_ROOT_USER_PASSWORD = "root_user_password"
    DB_CONN_PROTOCOL = "conn_protocol"
    DB_NOTIFICATION_EMAIL = "email"


class ArangoPipeConfig:
    """Where the database is. Without settings, what `connect()` opens: ARANGOPIPE_URL, or a file.

    Beside the original's settings there is `url`, which takes the place of all others.
    """

    def __init__(self) -> None:
        self.cfg: dict[str, Any] = {"arangodb": {}, "mlgraph": {"graphname": GRAPH}}

    def get_cfg(self) -> dict[str, Any]:
        return self.cfg

    def set_cfg(self, new_cfg: dict[str, Any]) -> None:
        self.cfg = new_cfg

    def create_connection_config(self, conn_params: Mapping[str, Any]) -> "ArangoPipeConfig":
        """Take the settings over and return this configuration."""
        self.cfg = {"arangodb": dict(conn_params), "mlgraph": {"graphname": GRAPH}}
        return self

    def set_dbconnection(self, conn_params: Mapping[str, Any]) -> "ArangoPipeConfig":
        """Take some settings over, keep the others, and return this configuration."""
        return self.create_connection_config({**self.cfg["arangodb"], **conn_params})

    def export_cfg(self, file_path: str) -> None:
        """Write the settings to a file, without passwords."""
        settings = {name: value for name, value in self.cfg["arangodb"].items() if name not in _SECRETS}
        Path(file_path).write_text(json.dumps({**self.cfg, "arangodb": settings}, indent=2) + "\n")

    def create_config(self, file_path: str) -> dict[str, Any]:
        """Return the settings in a file, of `export_cfg` or of the original, which wrote YAML."""
        text = Path(file_path).read_text()
        try:
            return dict(json.loads(text)["arangodb"])
        except ValueError:
            return dict(_yaml(text)["arangodb"])


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise Misconfigured("the file is not JSON, and reading YAML needs PyYAML: pip install pyyaml") from None
    return yaml.safe_load(text)


def _open(settings: Config) -> "StandardDatabase":
    if "url" in settings or not settings:
        return connect(settings.get("url"))
    missing = [name for name in ("DB_service_host", "DB_service_port") if name not in settings]
    if missing:
        raise Misconfigured(f"the configuration lacks {missing[0]}; give it to create_connection_config")
    user, password = (quote(str(settings.get(name) or ""), safe="") for name in ("username", "password"))
    host = f"{settings['DB_service_host']}:{settings['DB_service_port']}"
    protocol, name = settings.get("conn_protocol") or "http", quote(settings.get("dbName") or "_system", safe="")
    return connect(f"{protocol}://{user}:{password}@{host}/{name}")


class ArangoPipeAdmin:
    """Projects, deployments, and the types of nodes and edges."""

    def __init__(
        self,
        reuse_connection: bool = True,
        config: ArangoPipeConfig | None = None,
        persist_conn: bool = True,
        client_url: str | None = None,
    ) -> None:
        """Open the database of a configuration and provision it.

        Without `reuse_connection`, and with a root user in the configuration, database and user are created where
        they are missing. The other arguments have no meaning any more: nothing is kept on disk.
        """
        self.config = config or ArangoPipeConfig()
        self.cfg = self.config.get_cfg()
        settings = self.cfg["arangodb"]
        if not reuse_connection and settings.get("root_user"):
            owner = admin.User(settings["username"], settings["password"], "owner")
            system = self._as_root()
            admin.provision_database(
                system,
                settings["dbName"],
                users=[owner],
                replication_factor=settings.get("arangodb_replication_factor"),
            )
        self._use(_open(settings))

    def _use(self, db: "StandardDatabase") -> None:
        self.db = db
        self.store = Store(db, provenance={"through": "compat"})
        admin.provision(db)

    def get_config(self) -> ArangoPipeConfig:
        return self.config

    def register_project(self, p: Mapping[str, Any]) -> Meta:
        """Register a project, or find the one that has the name."""
        stage = stages.register_project(**p)
        return self._meta(self._named("Project", p) or self.store.write(stage, on_conflict="keep"))

    def register_deployment(self, dep_tag: str) -> Meta:
        """Deploy the model of the newest run that has the deployment tag; return the edge to the model.

        It becomes the active deployment of the model's project.
        """
        run = self._newest("Run", {"deployment_tag": dep_tag})
        if run is None:
            raise NotFound([f"a run with the deployment tag {dep_tag!r}"])
        inputs = self.store.lineage({"_id": run["_id"]}, direction="upstream", depth=2)["nodes"]
        found = {kind: [n["document"] for n in inputs if n["kind"] == kind] for kind in ("Project", "Model")}
        featuresets = [n["document"] for n in inputs if n["kind"] == "Featureset" and n["depth"] == 1]
        for kind, documents in found.items():
            if not documents:
                raise NotFound([f"the {kind.lower()} of the run {run['run_id']!r}"])
        model_id = found["Model"][0]["_id"]
        stage = stages.register_deployment(
            dep_tag,
            project={"_id": found["Project"][0]["_id"]},
            model={"_id": model_id},
            run={"_id": run["_id"]},
            featureset=[{"_id": each["_id"]} for each in featuresets],
        )
        deployment = self.store.write(stage, on_conflict="revise")
        return self._meta(f"deployment_model/{edge_key('deployment_model', deployment['_id'], model_id)}")

    def delete_arangomldb(self) -> None:
        """Do nothing, as the original does."""

    def delete_database(self, db_to_delete: str) -> None:
        """Delete a database, with the root user of the configuration. Raises NotFound."""
        if not self.cfg["arangodb"].get("root_user"):
            raise Misconfigured("deleting a database needs root_user and root_user_password in the configuration")
        system = self._as_root()
        with driver_errors():
            if not system.has_database(db_to_delete):
                raise NotFound([f"the database {db_to_delete!r}"])
            system.delete_database(db_to_delete)

    # --- types

    def add_vertex_to_arangopipe(self, vertex_to_create: str) -> None:
        """Add a node type of this name."""
        admin.extend(self.db, nodes=[NodeType(vertex_to_create, vertex_to_create, ("name",))])

    def remove_vertex_from_arangopipe(self, vertex_to_remove: str, purge: bool = True) -> None:
        """Remove a node type; `purge` says that its nodes may go with it."""
        admin.withdraw(self.db, nodes=[vertex_to_remove], force=purge)

    def add_edge_definition_to_arangopipe(
        self, edge_col_name: str, edge_name: str, from_vertex_name: str, to_vertex_name: str
    ) -> None:
        """Add an edge type, called as its collection; `edge_name` has no meaning, as in the original."""
        self.add_edges_to_arangopipe(edge_col_name, [from_vertex_name], [to_vertex_name])

    def add_edges_to_arangopipe(
        self, edge_col_name: str, from_vertex_list: Sequence[str], to_vertex_list: Sequence[str]
    ) -> None:
        """Add an edge type. It leads from one node type to one; of several, Invalid is raised."""
        if len(from_vertex_list) != 1 or len(to_vertex_list) != 1:
            raise Invalid(edge_col_name, "leads from one node type to one; add an edge type for each pair")
        schema = self.store.stage().schema
        ends = [schema.node(name).kind for name in (from_vertex_list[0], to_vertex_list[0])]
        admin.extend(self.db, edges=[EdgeType(edge_col_name, ends[0], ends[1], "from")])

    def remove_edge_definition_from_arangopipe(self, edge_name: str, purge: bool = True) -> None:
        """Remove an edge type; `purge` says that its edges may go with it."""
        admin.withdraw(self.db, edges=[edge_name], force=purge)

    def has_vertex(self, vertex_name: str) -> bool:
        with driver_errors():
            return bool(self.db.graph(GRAPH).has_vertex_collection(vertex_name))

    def has_edge(self, edge_name: str) -> bool:
        with driver_errors():
            return bool(self.db.graph(GRAPH).has_edge_definition(edge_name))

    # --- inside

    def _as_root(self) -> "StandardDatabase":
        settings = self.cfg["arangodb"]
        root = {"username": settings["root_user"], "password": settings.get("root_user_password")}
        return _open({**settings, **root, "dbName": "_system"})

    def _named(self, kind: str, info: Mapping[str, Any]) -> Document | None:
        try:
            return self.store.get(info["name"], kind)
        except NotFound:
            return None

    def _newest(self, kind: str, where: Mapping[str, Any]) -> Document | None:
        found = self.store.search(kind, where, limit=1, count=False)["nodes"]
        return found[0] if found else None

    def _meta(self, stored: Ref | Mapping[str, Any] | str) -> Meta:
        """Return what the driver answers to an insertion."""
        document: Any = stored
        if isinstance(stored, str) or "_rev" not in stored:
            collection, _, key = (stored if isinstance(stored, str) else stored["_id"]).partition("/")
            with driver_errors():
                document = self.db.collection(collection).get(key)
        return {name: document[name] for name in ("_id", "_key", "_rev")}


class ArangoPipe(ArangoPipeAdmin):
    """Data sets, feature sets, models, runs and serving performance; and look-ups."""

    def __init__(
        self,
        config: "ArangoPipeConfig | StandardDatabase",
        graph_name: str = GRAPH,
        replication_factor: int | None = None,
    ) -> None:
        """Open the database of a configuration, or use one that is open."""
        self.config = config if isinstance(config, ArangoPipeConfig) else ArangoPipeConfig()
        self.cfg = self.config.get_cfg()
        self._use(_open(self.cfg["arangodb"]) if isinstance(config, ArangoPipeConfig) else config)

    def heart_beat(self) -> None:
        """Raise Unavailable, Unauthorized or NotProvisioned if the database does not answer as it should."""
        self.lookup_dataset("heart beat check")

    def register_dataset(self, ds_info: Mapping[str, Any], user_id: str = "authorized_user") -> Meta | None:
        """Register a data set; None if its name is taken by one with different content."""
        return self._registered(stages.register_dataset(**_versioned(ds_info)))

    def register_featureset(
        self, fs_info: Mapping[str, Any], dataset_id: str, user_id: str = "authorized_user"
    ) -> Meta | None:
        """Register a feature set of the data set with this `_key`; None if its name is taken."""
        dataset = {"_id": f"datasets/{dataset_id}"}
        return self._registered(stages.register_featureset(dataset=dataset, **_versioned(fs_info, "dataset")))

    def register_model(
        self, mi: Mapping[str, Any], user_id: str = "authorized_user", project: str = DEFAULT_PROJECT
    ) -> Meta | None:
        """Register a model in a project, given by its name; None if the model's name is taken."""
        return self._registered(stages.register_model(project=project, **_versioned(mi, "project")))

    def log_run(self, ri: Mapping[str, Any]) -> None:
        """Log a run, with its parameters (`model-params`) and performance (`model-perf`), whole or not at all.

        `dataset`, `featureset` and `model` are keys; any further attribute is kept.
        """
        given = dict(ri)
        parts = {name: _taken(given, name) for name in ("run_id", "dataset", "featureset", "model")}
        params, metrics = (dict(_taken(given, name)) for name in ("model-params", "model-perf"))
        given.setdefault("timestamp", metrics.get("timestamp"))
        stage = stages.log_run(
            parts["run_id"],
            model={"_id": f"models/{parts['model']}"},
            dataset={"_id": f"datasets/{parts['dataset']}"},
            featureset={"_id": f"featuresets/{parts['featureset']}"},
            params=params,
            metrics=metrics,
            **given,
        )
        self.store.write(stage)

    def log_serving_perf(self, sp: Mapping[str, Any], dep_tag: str, userid: str = "authorized user") -> Meta:
        """Log serving performance of the deployment with a tag; return the edge to it.

        `from_date` and `to_date` (in UTC, if they have no zone) are the period; without them it is the moment of the
        call. The same performance is logged once.
        """
        start, end = (_moment(sp.get(name)) for name in ("from_date", "to_date"))
        stage = Stage()
        facts = dict(sp)
        identity = {
            "deployment": model.sure_key("Deployment", dep_tag),
            "period_start": start or end or _moment(datetime.now(UTC)),
            "period_end": end or start or _moment(datetime.now(UTC)),
            "source": "arangopipe",
        }
        key = model.key_of("ServingPerf", [dep_tag, model.canonical(facts)])
        node = stage.add("ServingPerf", {**facts, **identity}, key=key)
        period = {name: identity[name] for name in ("period_start", "period_end")}
        stage.link("deployment_servingperf", dep_tag, node, period)
        self.store.write(stage, on_conflict="keep")
        deployment = self.store.get(dep_tag, "Deployment")
        return self._meta(f"deployment_servingperf/{edge_key('deployment_servingperf', deployment['_id'], node.id)}")

    # --- looking up

    def lookup_dataset(self, dataset_name: str) -> Document | None:
        return self.lookup_entity(dataset_name, "datasets")

    def lookup_featureset(self, feature_set_name: str) -> Document | None:
        return self.lookup_entity(feature_set_name, "featuresets")

    def lookup_model(self, model_name: str) -> Document | None:
        return self.lookup_entity(model_name, "models")

    def lookup_modelparams(self, tag_value: str) -> Document | None:
        """Return the parameters of the newest run with a tag."""
        return self._of_tagged_run("ModelParams", tag_value)

    def lookup_modelperf(self, tag_value: str) -> Document | None:
        """Return the development performance of the newest run with a tag."""
        return self._of_tagged_run("DevPerf", tag_value)

    def lookup_entity(self, asset_name: str, asset_type: str) -> Document | None:
        """Return the newest node of a type, named by its collection, that has the name."""
        return self._newest(asset_type, {"name": asset_name})

    def lookup_entity_by_id(self, entity_id: str) -> Document | None:
        try:
            return self.store.get({"_id": entity_id})
        except NotFound:
            return None

    def find_entity(self, attrib_name: str, attrib_value: Any, asset_type: str) -> list[Document] | None:
        """Return all nodes of a type whose attribute has the value; None if there are none."""
        return list(self._all(asset_type, {attrib_name: {"==": attrib_value}})) or None

    # --- linking and inserting

    def link_entities(self, src_id: str, dest_id: str) -> None:
        """Note on a node that another is related, by their `_id`s, in its attribute `related_<collection>`."""
        for id in (src_id, dest_id):
            if id.count("/") != 1:
                raise Invalid("", f"{id!r} is not an _id")
        self.store.relate({"_id": src_id}, dest_id)

    def insert_into_vertex_type(self, vertex_type_name: str, document: Mapping[str, Any]) -> Meta:
        """Store a node of any type. One that has no name is called by its content."""
        stage = self.store.stage()
        type_ = stage.schema.node(vertex_type_name)
        attributes = {name: value for name, value in document.items() if not name.startswith("_")}
        if type_.name not in attributes:
            attributes[type_.name] = model.digest(model.canonical(attributes))[:16]
        node = stage.add(type_.kind, attributes, key=document.get("_key"))
        self.store.write(stage, on_conflict="revise")
        return self._meta(node.id)

    def insert_into_edge_type(
        self,
        edge_name: str,
        from_vdoc: Mapping[str, Any],
        to_vdoc: Mapping[str, Any],
        document: Mapping[str, Any] | None = None,
    ) -> Meta:
        """Store an edge of any type between two stored nodes."""
        stage = self.store.stage()
        stage.link(edge_name, {"_id": from_vdoc["_id"]}, {"_id": to_vdoc["_id"]}, document)
        self.store.write_all(stage, on_conflict="revise")
        return self._meta(f"{edge_name}/{edge_key(edge_name, from_vdoc['_id'], to_vdoc['_id'])}")

    # --- inside

    def _registered(self, stage: Stage) -> Meta | None:
        """Write a stage unless its name is taken, which is no error if the content is the same."""
        node = stage.nodes[0]
        found = self._named(node.type.kind, node.content)
        if found is None:
            try:
                return self._meta(self.store.write(stage))
            except Conflict:  # another process took the name meanwhile
                found = self._named(node.type.kind, node.content) or {}
        wanted = {name: value for name, value in {**node.content, **node.notes}.items() if name not in _OURS}
        if all(found.get(name) == value for name, value in wanted.items()):
            return self._meta(found)
        log.error("The name %r is taken by another %s; choose another name.", node.content["name"], node.type.kind)
        return None

    def _of_tagged_run(self, kind: str, tag: str) -> Document | None:
        run = self._newest("Run", {"tag": tag})
        if run is None:
            return None
        near = self.store.lineage({"_id": run["_id"]}, direction="downstream", depth=1, kinds=[kind, "Run"])
        return next((node["document"] for node in near["nodes"] if node["kind"] == kind), None)

    def _all(self, kind: str, where: Mapping[str, Any]) -> Iterator[Document]:
        cursor: str | None = None
        while True:
            page = self.store.search(kind, where, limit=1000, cursor=cursor, count=False)
            yield from page["nodes"]
            cursor = page["cursor"]
            if cursor is None:
                return


@contextmanager
def arango_pipe_connections(
    conn_params: Mapping[str, Any], reuse_connection: bool = True
) -> Iterator[tuple[ArangoPipeAdmin, ArangoPipe]]:
    """Yield an ArangoPipeAdmin and an ArangoPipe for the settings of a connection."""
    config = ArangoPipeConfig().create_connection_config(conn_params)
    yield ArangoPipeAdmin(reuse_connection, config), ArangoPipe(config)


_OURS = ("version", "datasets")
"""Attributes that the original does not write."""


def _versioned(info: Mapping[str, Any], *edges: str) -> dict[str, Any]:
    """Return the attributes of a node whose name is all that identifies it, as in the original.

    What an edge says is left out of them.
    """
    if not info.get("name"):
        raise Invalid("name", "is missing")
    given = {name: value for name, value in info.items() if name not in edges}
    return {**given, "version": str(info.get("version", "1"))}


def _taken(given: dict[str, Any], name: str) -> Any:
    try:
        return given.pop(name)
    except KeyError:
        raise Invalid(name, "is missing in the run") from None


def _moment(value: Any) -> str | None:
    """Return a time as canonical text, in UTC where it has no zone; None if it is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return model.moment(value if value.tzinfo else value.replace(tzinfo=UTC), "period")
