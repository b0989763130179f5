"""Serving performance: the periods, the collection from where it is measured, and its gaps."""

from arangopipe_ops.integrations.source import Fault, Period, Row
from arangopipe_ops.serving.alerts import AlertChange, Rule
from arangopipe_ops.serving.collection import Report, collect
from arangopipe_ops.serving.configuration import Configuration
from arangopipe_ops.serving.faults import FaultRow, in_words
from arangopipe_ops.serving.gaps import Gap, gaps
from arangopipe_ops.serving.periods import latest, periods
from arangopipe_ops.serving.sources import Source

__all__ = [
    "AlertChange",
    "Configuration",
    "Fault",
    "FaultRow",
    "Gap",
    "Period",
    "Report",
    "Row",
    "Rule",
    "Source",
    "collect",
    "gaps",
    "in_words",
    "latest",
    "periods",
]
