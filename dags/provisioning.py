"""Make a database ready for the metadata graph, and see that it answers."""

from datetime import timedelta

from airflow.sdk import dag

from arangopipe_ops.airflow.operators import AQLOperator, ProvisionOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["arangopipe"],
    default_args={"retries": 5, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": True},
)
def provisioning() -> None:
    """
    ### Once for every database

    Run this once after the connection `arangopipe_default` is defined, and again after an upgrade of arangopipe-ops:
    it creates what is missing of the graph, its collections and indexes, and touches nothing that is there. All
    other DAGs can then work with a user who may read and write, but not create.

    `look` asks the graph how much it holds, so that a run that succeeded has also read what it made. A database that
    is just starting is tried again for some minutes; a wrong password is not.
    """
    provision = ProvisionOperator(task_id="provision")
    look = AQLOperator(
        task_id="look",
        query="""
            RETURN {
                projects: LENGTH(project), datasets: LENGTH(datasets), models: LENGTH(models),
                runs: LENGTH(run), deployments: LENGTH(deployment)
            }""",
        result="first",
    )
    provision >> look


provisioning()
