"""Look after a database: provision it, extend it, keep it small, find what is wrong with it and repair it.

Everything here is derived from model.py. `plan` and `doctor` only read; what changes anything says so in the audit.
"""

from arangopipe_ops.admin.database import User, plan_database, provision_database
from arangopipe_ops.admin.doctor import Finding, access, doctor
from arangopipe_ops.admin.extension import extend, extension, withdraw
from arangopipe_ops.admin.provisioning import Difference, definition, plan, provision
from arangopipe_ops.admin.ranking import rank, ranked, ranked_in, unrank
from arangopipe_ops.admin.repair import REPAIRS, repair
from arangopipe_ops.admin.retention import Retention, kept_for, retention
from arangopipe_ops.admin.users import (
    GRANTED,
    KnownUser,
    Permissions,
    Rights,
    change_password,
    create_user,
    grant,
    permissions,
    remove_user,
    rights,
    users,
)

__all__ = [
    "GRANTED",
    "REPAIRS",
    "Difference",
    "Finding",
    "KnownUser",
    "Permissions",
    "Retention",
    "Rights",
    "User",
    "access",
    "change_password",
    "create_user",
    "definition",
    "doctor",
    "extend",
    "extension",
    "grant",
    "kept_for",
    "permissions",
    "plan",
    "plan_database",
    "provision",
    "provision_database",
    "rank",
    "ranked",
    "ranked_in",
    "remove_user",
    "repair",
    "retention",
    "rights",
    "unrank",
    "users",
    "withdraw",
]
