"""What Airflow reads about this provider. It does so in every process, so nothing is imported here."""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, in the form of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "arangopipe-ops",
        "name": "Arangopipe",
        "description": "Writes every stage of a machine-learning pipeline into one metadata graph in ArangoDB.",
        "integrations": [{"integration-name": "Arangopipe", "tags": ["software"]}],
        "hooks": [{"integration-name": "Arangopipe", "python-modules": ["arangopipe_ops.airflow.hooks"]}],
        "operators": [{"integration-name": "Arangopipe", "python-modules": ["arangopipe_ops.airflow.operators"]}],
        "sensors": [{"integration-name": "Arangopipe", "python-modules": ["arangopipe_ops.airflow.sensors"]}],
        "triggers": [{"integration-name": "Arangopipe", "python-modules": ["arangopipe_ops.airflow.triggers"]}],
        "task-decorators": [
            {"name": name, "class-name": f"arangopipe_ops.airflow.decorators.{name}_task"}
            for name in ("arangopipe_run", "arangopipe_dataset")
        ],
        "asset-uris": [
            {
                "schemes": ["arangopipe"],
                "handler": "arangopipe_ops.airflow.assets.sanitize_uri",
                "factory": "arangopipe_ops.airflow.assets.create_asset",
                "to_openlineage_converter": "arangopipe_ops.airflow.assets.convert_asset_to_openlineage",
            }
        ],
        "extra-links": [f"arangopipe_ops.airflow.links.Arangopipe{name}Link" for name in ("Node", "Lineage")],
        "notifications": ["arangopipe_ops.airflow.notifications.ArangopipeNotifier"],
        "config": {
            "arangopipe": {
                "description": "What the plugin, the links and the listener of Arangopipe do.",
                "options": {
                    "conn_id": _option("string", "arangopipe_default", "The connection of plugin and listener."),
                    "ui_url": _option(
                        "string", "", "Where links lead; if empty, to the plugin's pages in Airflow's API server."
                    ),
                    "record_outcomes": _option(
                        "boolean", "False", "Record tasks that failed or skipped themselves, of all operators."
                    ),
                },
            }
        },
        "connection-types": [
            {
                "connection-type": "arangopipe",
                "hook-class-name": "arangopipe_ops.airflow.hooks.ArangopipeHook",
                "hook-name": "Arangopipe",
                "ui-field-behaviour": {
                    "hidden-fields": ["extra"],
                    "relabeling": {"host": "Hosts", "login": "User", "schema": "Database"},
                    "placeholders": {
                        "host": "db.example.com, or coordinators: one:8529, two:8529",
                        "port": "8529",
                        "login": "root",
                        "schema": "_system",
                    },
                },
                "conn-fields": {
                    "tls": {
                        "label": "TLS",
                        "description": "Connect with https.",
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                    "request_timeout": {
                        "label": "Request timeout",
                        "description": "Seconds until a request that finds no answer is given up (30).",
                        "schema": {"type": ["number", "null"], "minimum": 1},
                    },
                    "embedded_file": {
                        "label": "Embedded database file",
                        "description": "Absolute path of a file to use instead of a server; leave Hosts empty.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "spool": {
                        "label": "Spool",
                        "description": "Absolute path of a folder that keeps what cannot be written for now.",
                        "schema": {"type": ["string", "null"]},
                    },
                },
            }
        ],
    }


def _option(type_: str, default: str, description: str) -> dict[str, Any]:
    return {
        "type": type_,
        "default": default,
        "description": description,
        "version_added": "0.1.0",
        "example": None,
    }
