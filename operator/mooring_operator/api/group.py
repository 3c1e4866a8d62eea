"""API group, kinds, and every label, annotation and field-manager name that Mooring owns."""

from enum import StrEnum

GROUP = "mooring.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "mooring"
STATUS_MANAGER = "mooring-status"
MANAGED_BY = "mooring"


class Kind(StrEnum):
    """The kinds that Mooring defines."""

    MODEL = "Model"
    MODEL_DEPLOYMENT = "ModelDeployment"
    RETRAIN_POLICY = "RetrainPolicy"

    @property
    def plural(self) -> str:
        """The resource name in API paths."""
        return {"Model": "models", "ModelDeployment": "modeldeployments"}.get(
            self.value, "retrainpolicies"
        )


class Label(StrEnum):
    """Labels on namespaces and on the children that Mooring makes."""

    ENVIRONMENT = "mooring.dev/environment"
    """On a namespace: which environment it is (dev, preprod, prod)."""
    OPERATOR = "mooring.dev/operator"
    """On a namespace: the namespace of the one operator that serves it; absent: any."""
    ALLOW_CODE = "mooring.dev/allow-code"
    """On a namespace: `true` lets models of format python, which run their own code, be verified
    there. Set by administrators: whoever may label a namespace decides."""
    MANAGED_BY = "app.kubernetes.io/managed-by"
    """On every child: `mooring`."""
    DEPLOYMENT = "mooring.dev/deployment"
    """The ModelDeployment that a child belongs to."""
    REVISION = "mooring.dev/revision"
    """The revision that a Deployment and its pods run."""
    MODEL = "mooring.dev/model"
    """The Model that a Job or a record belongs to."""
    MODEL_VERSION = "mooring.dev/model-version"
    """The version that a Job or a record speaks of."""
    RECORD = "mooring.dev/record"
    """On a ControllerRevision: what it records, `version` or `verification`."""
    RETRAIN_POLICY = "mooring.dev/retrain-policy"
    """The RetrainPolicy that a training Job belongs to."""


class Annotation(StrEnum):
    """Annotations that people set as verbs, and those that Mooring mirrors its memory in."""

    PROMOTE = "mooring.dev/promote"
    """Verb on a ModelDeployment: the candidate that is promoted without more analysis."""
    ABORT = "mooring.dev/abort"
    """Verb on a ModelDeployment: the candidate that is dropped and quarantined."""
    RETRY = "mooring.dev/retry"
    """Verb on a ModelDeployment: the quarantined revision that may be tried again."""
    ROLLBACK_TO = "mooring.dev/rollback-to"
    """Verb on a ModelDeployment: the older revision, or its number in history, to go back to."""
    APPROVE = "mooring.dev/approve"
    """Verb on a ModelDeployment: the revision that may be let in."""
    RETRAIN = "mooring.dev/retrain"
    """Verb on a RetrainPolicy: any new token starts a run by the manual trigger."""
    MEMORY = "mooring.dev/memory"
    """On the stable Deployment: quarantine and last rollback, to rebuild a lost status from."""
    POD_SETTINGS = "mooring.dev/pod-settings"
    """On a revision's Deployment: hash of the settings that its pods must have."""
    INTENT = "mooring.dev/intent"
    """On every child: hash of what was applied, so that an unchanged child is not written."""
