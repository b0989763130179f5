"""The components, by name, with the settings of the environment: `from arangopipe_ops.kfp.components import log_run`.

`FUNCTIONS` are what they execute, for components with settings of your own (`factory.components`).
"""

from functools import cache
from typing import Any

from arangopipe_ops.kfp.components import deploying, registering, running
from arangopipe_ops.kfp.factory import Settings, components

FUNCTIONS = (
    registering.provision,
    registering.register_project,
    registering.register_dataset,
    registering.register_dataset_by_reference,
    registering.register_featureset,
    registering.register_featureset_by_reference,
    registering.register_model,
    running.log_run,
    running.log_run_by_reference,
    deploying.register_deployment,
    deploying.register_deployment_by_reference,
    deploying.promote,
    deploying.log_serving_performance,
    deploying.log_serving_performance_by_reference,
    deploying.collect_serving_performance,
    deploying.select_model,
    running.log_failure,
    running.finalize_run,
)


@cache
def _made() -> dict[str, Any]:
    return components(FUNCTIONS, Settings.from_environment())


def __getattr__(name: str) -> Any:
    if name in {function.__name__ for function in FUNCTIONS}:
        return _made()[name]
    raise AttributeError(f"there is no component {name!r}")
