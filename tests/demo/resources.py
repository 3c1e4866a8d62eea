"""The demo's manifests: what a team would keep in Git, one set for each environment.

Intervals, windows and warm times are scaled to replay time, as `scale()` says on the screen.
"""

from dataclasses import dataclass

import yaml

MODEL = "flight-delay"
POLICY = "flight-delay"
STORE_SECRET = "mooring-store"  # noqa: S105 - a Secret's name, not its content
LOGS = "s3://logs/predictions"
RETRAINED = "s3://models/retrained"


@dataclass(frozen=True)
class Environment:
    """A namespace-environment of the demo."""

    name: str
    replicas: int

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return f"flights-{self.name}"


DEV = Environment("dev", 1)
PREPROD = Environment("preprod", 1)
PROD = Environment("prod", 2)
ENVIRONMENTS = (DEV, PREPROD, PROD)


@dataclass(frozen=True)
class Version:
    """A packaged and uploaded version of the model."""

    name: str
    uri: str
    digest: str


@dataclass(frozen=True)
class Store:
    """The S3 server of the demo, and its credentials."""

    endpoint: str
    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """The standard environment variables that S3 clients read."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def namespaces(store: Store) -> str:
    """The labelled namespaces, each with the Secret that opens the store."""
    documents: list[object] = []
    for environment in ENVIRONMENTS:
        documents.append(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": environment.namespace,
                    "labels": {
                        "mooring.dev/environment": environment.name,
                        "pod-security.kubernetes.io/enforce": "restricted",
                    },
                },
            }
        )
        documents.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": STORE_SECRET, "namespace": environment.namespace},
                "stringData": store.environment(),
            }
        )
    return yaml.safe_dump_all(documents, sort_keys=False)


def model(environment: Environment, versions: list[Version]) -> str:
    """The Model of an environment, with the versions declared so far and a channel."""
    return yaml.safe_dump(
        {
            "apiVersion": "mooring.dev/v1alpha1",
            "kind": "Model",
            "metadata": {"name": MODEL, "namespace": environment.namespace},
            "spec": {
                "purpose": "Predict at departure whether a flight arrives over 15 minutes late",
                "versions": [
                    {
                        "name": version.name,
                        "uri": version.uri,
                        "digest": version.digest,
                        "secretName": STORE_SECRET,
                    }
                    for version in versions
                ],
                "channels": [{"name": "live", "follow": "Newest"}],
            },
        },
        sort_keys=False,
    )


def deployment(environment: Environment, reference: dict[str, str]) -> str:
    """The ModelDeployment of an environment; `reference` is {version: …} or {channel: …}."""
    return yaml.safe_dump(
        {
            "apiVersion": "mooring.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": MODEL, "namespace": environment.namespace},
            "spec": {
                "model": {"name": MODEL} | reference,
                "replicas": environment.replicas,
                "resources": {
                    "requests": {"cpu": "50m", "memory": "160Mi"},
                    "limits": {"memory": "768Mi"},
                },
                "rollout": {
                    "steps": [
                        {"shadow": 100, "minRows": 300},
                        {"weight": 5, "minRows": 100},
                        {"weight": 50, "minRows": 1500},
                    ],
                    "analysis": {
                        "metrics": ["errors", "invalidOutputs", "latency", "loss"],
                        "margins": {
                            "errors": 0.02,
                            "invalidOutputs": 0.02,
                            "latency": 0.1,
                            "loss": 0.04,
                        },
                        "latencyThreshold": "250ms",
                        "maxDuration": "10m",
                    },
                    "progressDeadline": "3m",
                },
                # v3 comes seconds after v2 was taken back; half an hour is for real deployments.
                "rollback": {"keepWarm": "60s", "cooldown": "0s"},
                "monitoring": {
                    "interval": "2s",
                    "window": "5s",
                    "eventTime": "Request",
                    "drift": {"falseAlarmInterval": "90m"},
                },
                "predictionLog": {
                    "uri": LOGS,
                    "secretName": STORE_SECRET,
                    "rotate": {"age": "10s"},
                },
            },
        },
        sort_keys=False,
    )


def policy(environment: Environment) -> str:
    """The RetrainPolicy of an environment."""
    return yaml.safe_dump(
        {
            "apiVersion": "mooring.dev/v1alpha1",
            "kind": "RetrainPolicy",
            "metadata": {"name": POLICY, "namespace": environment.namespace},
            "spec": {
                "deployment": {"name": MODEL},
                "triggers": [
                    {"name": "drift", "drift": {}},
                    {"name": "monthly", "schedule": {"cron": "0 3 1 * *"}},
                    {"name": "by-hand", "manual": {}},
                ],
                "cooldown": "20s",
                "data": {
                    "window": "120d",
                    "labelMaturity": "12h",
                    "minRows": 3000,
                    "testWindow": "42d",
                    "embargo": "12h",
                },
                "tuning": {"maxTrials": 6, "timeout": "40s"},
                "evaluation": {"alpha": 0.05, "block": "1d", "minBlocks": 14},
                "job": {"deadline": "5m"},
                "output": {"uri": RETRAINED, "secretName": STORE_SECRET},
            },
        },
        sort_keys=False,
    )
