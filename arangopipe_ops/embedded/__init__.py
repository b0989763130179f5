"""ArangoDB's HTTP API and AQL on one SQLite file, in process: for laptops and CI.

    database = open_database("metadata.db")
    database.handle("get", "/_db/_system/_api/version", {}, {}, None)

python-arango runs on it unchanged, see `transport.client`.
"""

from __future__ import annotations

from .http import Database, open_database
from .request import Response

__all__ = ["Database", "Response", "open_database"]
