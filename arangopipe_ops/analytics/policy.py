"""Serving policy: which model of a project should serve, by a rule that is data, and putting that into effect."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypedDict

from arangopipe_ops import model
from arangopipe_ops.analytics.candidates import candidates, source_of
from arangopipe_ops.analytics.performance import whole
from arangopipe_ops.analytics.statements import METRICS, PROMOTED, Goal, ask, bound, finite, named, order_of, value_of
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document, Ref
from arangopipe_ops.stages import register_deployment, slot_of
from arangopipe_ops.store import Store

Decision = Literal["promote", "keep", "none"]


@dataclass(frozen=True)
class Policy:
    """A rule by which the model to serve is selected; plain data, to be kept beside the code or in the graph.

    The best run by `metric` and `goal` is the candidate: of runs with one of the `statuses` (runs that tell none count
    as completed) that meet `where` (conditions as in a search; `params.`, `metrics.` and `model.` lead to those of
    the run) and optionally are of a `task`. It is promoted if it reaches the `threshold`, and is better than the
    run that is active in `environment`, by at least `min_improvement`. Raises Invalid.
    """

    metric: str
    goal: Goal = "max"
    threshold: float | None = None
    min_improvement: float = 0.0
    where: Mapping[str, Any] = field(default_factory=dict)
    environment: str = "production"
    statuses: tuple[str, ...] = ("completed",)
    task: str | None = None

    def __post_init__(self) -> None:
        order_of(self.goal)
        if not isinstance(self.metric, str) or not self.metric:
            raise Invalid("metric", f"{self.metric!r} is not the name of a metric")
        statuses: Any = self.statuses
        if isinstance(statuses, str):
            raise Invalid("statuses", f"{self.statuses!r} is not a list; give the statuses as one")
        finite(threshold=self.threshold, min_improvement=self.min_improvement)
        if self.min_improvement is None or self.min_improvement < 0:
            raise Invalid("min_improvement", f"{self.min_improvement!r} is not a number from 0")
        object.__setattr__(self, "statuses", tuple(self.statuses))
        object.__setattr__(self, "where", model.canonical(self.where, "where"))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Policy":
        """Return the policy that plain JSON describes. Raises Invalid for a name that no policy has."""
        known = {each.name for each in fields(cls)}
        for name in data.keys() - known:
            raise Invalid(f"policy.{name}", f"is not part of a policy, which has {', '.join(sorted(known))}")
        if "metric" not in data:
            raise Invalid("policy.metric", "is missing; a policy needs it")
        return cls(**data)

    def to_json(self) -> Document:
        """Return the policy as plain JSON."""
        return {**asdict(self), "statuses": list(self.statuses)}


class Candidate(TypedDict):
    """A run as the policy sees it: `value` is its metric, `at` when it was, UTC."""

    run: str
    run_id: str
    model: str
    model_name: str
    model_version: str | None
    featuresets: list[str]
    value: float
    at: str | None


class Active(TypedDict):
    """The deployment that is active: `value` is the metric of the run it promoted, None where that is not known."""

    deployment: str
    tag: str
    run: str | None
    run_id: str | None
    value: float | None


class Selection(TypedDict):
    """What a policy decides, and why. `none`: nothing is active and nothing is fit to be.

    `runners_up` are the next best runs, the best first, as many as were asked for.
    """

    project: str
    decision: Decision
    reason: str
    candidate: Candidate | None
    runners_up: list[Candidate]
    active: Active | None
    policy: Document


class Deployed(TypedDict):
    """What `deploy` decided and did. `deployment` is the one it promoted, None if it did not."""

    selection: Selection
    deployment: Ref | None
    replaced: str | None


_SELECT = """WITH project, models, run, modelparams, devperf, featuresets, deployment
{known}
LET p = FIRST(owner){candidates}
LET best = (FOR c IN candidates
  RETURN {{
    run: c.r._id,
    run_id: c.r.run_id,
    model: c.m._id,
    model_name: c.m.name,
    model_version: c.m.version,
    featuresets: (FOR x IN run_featuresets FILTER x._from == c.r._id SORT x._to RETURN x._to),
    value: c.value,
    at: c.at
  }})
LET active = (FOR d IN deployment FILTER d.active_slot == @slot
  LET promoted = {promoted}
  LET r = DOCUMENT(promoted)
  LET metrics = {metrics}
  RETURN {{deployment: d._id, tag: d.tag, run: promoted, run_id: r.run_id, value: {value}}})
RETURN {{found: {{Project: p != null}}, answer: {{name: p.name, best, active: FIRST(active)}}}}"""


def select_model(store: Store, project: Any, policy: Policy, *, runners_up: int = 0) -> Selection:
    """Return which model of a project a policy selects, and why; nothing is changed.

    Of equally good runs the newest is the candidate. So many `runners_up` are told beside it. One request. Raises
    NotFound for a project that is not there, Invalid.
    """
    binds: Document = {
        "since": None,
        "until": None,
        "task": policy.task,
        "technique": None,
        "tag": None,
        "statuses": list(policy.statuses),
        "limit": 1 + whole(runners_up, "runners_up", least=0),
        "slot": slot_of(project, policy.environment),
        **bound("Project", "owner", project),
    }
    text = _SELECT.format(
        known=named("Project", "owner"),
        candidates=candidates(policy.metric, policy.goal, policy.where, source_of(project, policy.task), binds),
        promoted=PROMOTED,
        metrics=METRICS,
        value=value_of("metrics", policy.metric, binds),
    )
    answer = ask(store, text, binds, Project=project)
    best, active = answer["best"], answer["active"]
    candidate = best[0] if best else None
    decision, reason = _decided(policy, candidate, active)
    return Selection(
        project=answer["name"],
        decision=decision,
        reason=reason,
        candidate=candidate,
        runners_up=best[1:],
        active=active,
        policy=policy.to_json(),
    )


def _decided(policy: Policy, candidate: Candidate | None, active: Active | None) -> tuple[Decision, str]:
    """Return the decision and its reason in words."""
    otherwise: Decision = "none" if active is None else "keep"
    if candidate is None:
        return otherwise, f"no run has {policy.metric} and meets the conditions"
    sign = 1 if policy.goal == "max" else -1
    best = f"run {candidate['run_id']} has {policy.metric} {candidate['value']:g}"
    if policy.threshold is not None and sign * (candidate["value"] - policy.threshold) < 0:
        return otherwise, f"the best, {best}, does not reach the threshold {policy.threshold:g}"
    if active is None:
        return "promote", f"{best}, and nothing is active in {policy.environment}"
    if active["run"] == candidate["run"]:
        return "keep", f"{best} and is active as {active['tag']}"
    if active["value"] is None:
        return "promote", f"{best}, and that of the active {active['tag']} is not known"
    gain = sign * (candidate["value"] - active["value"])
    compared = f"{best}, the active {active['tag']} has {active['value']:g}: better by {gain:g}"
    if gain <= 0 or gain < policy.min_improvement - ROUNDING * max(abs(candidate["value"]), abs(active["value"])):
        return "keep", f"{compared}, less than the {policy.min_improvement:g} that is asked for" if gain > 0 else (
            f"{best}, the active {active['tag']} has {active['value']:g}: not better"
        )
    return "promote", compared


ROUNDING = 1e-12  # 0.83 - 0.8 is a little less than 0.03


def deploy(
    store: Store, project: Any, policy: Policy, *, tag: str, dry_run: bool = False, reason: str | None = None
) -> Deployed:
    """Select a model by a policy and, if it says so, promote it as the deployment `tag`.

    The deployment is registered as scheduled, then promoted over the one that the decision was made against:
    if another one is active by then, Conflict is raised, and the new one stays scheduled; deciding again and
    deploying with the same run and tag goes on from there. The audit has the policy's reason, after the given one.
    With `dry_run` nothing is written. Raises NotFound, Invalid, Conflict.
    """
    selection = select_model(store, project, policy)
    candidate, active = selection["candidate"], selection["active"]
    if selection["decision"] != "promote" or candidate is None or dry_run:
        return Deployed(selection=selection, deployment=None, replaced=None)
    why = f"{reason}: {selection['reason']}" if reason else selection["reason"]
    stage = register_deployment(
        tag,
        project=project,
        model={"_id": candidate["model"]},
        run={"_id": candidate["run"]},
        featureset=[{"_id": id} for id in candidate["featuresets"]],
        environment=policy.environment,
        status="scheduled",
    )
    deployment = store.write(stage, reason=why)
    change = store.promote(deployment, over=active["deployment"] if active else "", reason=why)
    replaced = next((old["tag"] for old in change["replaced"] if old["_id"] != deployment["_id"]), None)
    return Deployed(selection=selection, deployment=deployment, replaced=replaced)
