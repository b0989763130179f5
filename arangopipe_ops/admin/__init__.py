"""Look after a database: provision it, extend it, keep it small, find what is wrong with it and repair it.

Everything here is derived from model.py. `plan` and `doctor` only read; what changes anything says so in the audit.
"""

from arangopipe_ops.admin.database import User, plan_database, provision_database
from arangopipe_ops.admin.doctor import Finding, doctor
from arangopipe_ops.admin.extension import extend, extension, withdraw
from arangopipe_ops.admin.provisioning import Difference, definition, plan, provision
from arangopipe_ops.admin.repair import repair
from arangopipe_ops.admin.retention import Retention, retention

__all__ = [
    "Difference",
    "Finding",
    "Retention",
    "User",
    "definition",
    "doctor",
    "extend",
    "extension",
    "plan",
    "plan_database",
    "provision",
    "provision_database",
    "repair",
    "retention",
    "withdraw",
]
