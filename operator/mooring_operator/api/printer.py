"""What `kubectl get` shows of each kind: short names and printer columns."""

from mooring_operator.api.group import Kind

Column = dict[str, str | int]

SHORT_NAMES = {Kind.MODEL: "mdl", Kind.MODEL_DEPLOYMENT: "mdep", Kind.RETRAIN_POLICY: "rtp"}


def _column(name: str, path: str, *, wide: bool = False, type_: str = "string") -> Column:
    column: Column = {"name": name, "type": type_, "jsonPath": path}
    return column | {"priority": 1} if wide else column


def _condition(name: str, type_: str, field: str = "status", *, wide: bool = False) -> Column:
    return _column(name, f'.status.conditions[?(@.type=="{type_}")].{field}', wide=wide)


AGE = _column("Age", ".metadata.creationTimestamp", type_="date")

ADDITIONAL_COLUMNS: dict[Kind, tuple[Column, ...]] = {
    Kind.MODEL: (
        _column("Newest", ".status.newest"),
        _column("Verified", ".status.verified"),
        _condition("Ready", "Ready"),
        _condition("Reason", "Ready", "reason"),
        _column("Purpose", ".spec.purpose", wide=True),
        _condition("Message", "Ready", "message", wide=True),
        AGE,
    ),
    Kind.MODEL_DEPLOYMENT: (
        _column("Model", ".spec.model.name"),
        _column("Version", ".status.version"),
        _column("Env", ".status.environment"),
        _column("Pods", ".status.ready"),
        _condition("Ready", "Ready"),
        _column("Phase", ".status.phase"),
        _column("Weight", ".status.weight"),
        _column("Drift", ".status.drifted"),
        _column("Quality", ".status.quality.shown"),
        _column("Desired", ".status.desired.version", wide=True),
        _column("Revision", ".status.stable.revision", wide=True),
        _column("Candidate", ".status.candidate.version", wide=True),
        _column("Rolled-Back-From", ".status.lastRollback.fromVersion", wide=True),
        _condition("Reason", "Ready", "reason", wide=True),
        _condition("Message", "Ready", "message", wide=True),
        AGE,
    ),
    Kind.RETRAIN_POLICY: (
        _column("Model", ".status.model"),
        _column("Deployment", ".spec.deployment.name"),
        _condition("Ready", "Ready"),
        _column("Phase", ".status.phase"),
        _column("Last-Trigger", ".status.lastTrigger"),
        _column("Verdict", ".status.verdict"),
        _column("Interval", ".status.interval"),
        _column("Next", ".status.nextSchedule"),
        _column("Suspended", ".spec.suspend", type_="boolean", wide=True),
        _condition("Message", "Ready", "message", wide=True),
        AGE,
    ),
}
