"""What a tenant tries who may write our three kinds in one namespace, and nothing else.

An attempt is a few documents, applied in order as the tenant. What came of it is judged by what
exists afterwards (`tenant_reach`), not by what the API server or the operator said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.builders.kubelet import SECRET
from tests.builders.resources import digest_of

Document = dict[str, Any]
TENANT, ROUTER = "tenant", "router"
"""Who has rights on our three kinds alone, and who may make HTTPRoutes in the namespace as well."""
VICTIM = "VICTIM"
"""Stands for the name of the victim's namespace."""
MODEL, VERSION = "good", "v1"
"""A verified Model of the tenant's namespace."""
OTHER = "other"
"""A verified Model and a deployment that exist in the victim's namespace alone."""
CONSENTED, WITHHELD = "mooring-store", "team-db"
"""Secrets of the tenant's namespace: one that its owner named for our use, one not."""
TAKEN = "payments"
"""A name under which the tenant's namespace has a Service and all else of somebody's own."""
TAKEN_MODEL, TAKEN_DEPLOYMENT = "ledger", "books"
"""A Model whose verification Job's name is taken, a deployment whose Deployment's name is."""
TAKEN_ROUTE = "checkout"
"""Names that begin so are those of somebody's HTTPRoutes in the tenant's namespace."""
VICTIMS_HOST = "shop.example.com"
"""What an HTTPRoute of the victim's namespace serves."""
SWAPPED = "swap"
"""A Model whose version is verified; its record outlives a change of the address."""
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 a path
VARIABLE = f"$({SECRET})"


@dataclass(frozen=True)
class Attempt:
    """One attempt.

    Attributes:
        what: in a few words; the test's id.
        aim: what the tenant wants to reach.
        steps: documents to apply, in order; refused ones are the API server's matter.
        subresource: written instead of the object itself.
        person: who tries.
    """

    what: str
    aim: str
    steps: tuple[Document, ...]
    subresource: str = ""
    person: str = TENANT


def attempts() -> list[Attempt]:
    """All of them; each has names of its own, so that what came of it can be told."""
    makers: tuple[Callable[[], Iterator[Attempt]], ...] = (
        _references,
        _addresses,
        _secrets,
        _logs,
        _templates,
        _amounts,
        _names,
        _metadata,
        _statuses,
        _policies,
    )
    return [attempt for maker in makers for attempt in maker()]


def model(name: str, *versions: Document, **fields: Any) -> Document:
    """A Model."""
    return _document("Model", name, {"purpose": "Reach", "versions": list(versions)} | fields)


def version(uri: str = "s3://models/good/v1", **fields: Any) -> Document:
    """A version; its digest is that of the verified one."""
    return {"name": VERSION, "uri": uri, "digest": digest_of(VERSION), **fields}


def deployment(name: str, **fields: Any) -> Document:
    """A deployment of the verified version, unless told."""
    return _document(
        "ModelDeployment", name, {"model": {"name": MODEL, "version": VERSION}} | fields
    )


def policy(name: str, **fields: Any) -> Document:
    """A policy that a person starts."""
    base: Document = {
        "deployment": {"name": "d-plain"},
        "triggers": [{"name": "by-hand", "manual": {}}],
        "output": {"uri": "s3://models/retrained", "secretName": CONSENTED},
    }
    document = _document("RetrainPolicy", name, base | fields)
    document["metadata"]["annotations"] = {"mooring.dev/retrain": "now"}
    return document


def _document(kind: str, name: str, spec: Document) -> Document:
    metadata: Document = {"name": name}
    return {
        "apiVersion": "mooring.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


def _references() -> Iterator[Attempt]:
    aim = "another namespace's model"
    names = (f"{VICTIM}/{OTHER}", f"../{VICTIM}/{OTHER}", f"{OTHER}.{VICTIM}", OTHER, "*", "")
    for number, name in enumerate(names):
        reference = {"name": name, "version": VERSION}
        yield Attempt(f"model named {name!r}", aim, (deployment(f"ref-{number}", model=reference),))
    for number, channel in enumerate((f"{VICTIM}/live", "../live", "live", "live#v1")):
        reference = {"name": MODEL, "channel": channel}
        yield Attempt(
            f"channel named {channel!r}", aim, (deployment(f"channel-{number}", model=reference),)
        )
    reference = {"name": MODEL, "version": "../v1"}
    yield Attempt("version that climbs", aim, (deployment("climbs", model=reference),))
    reference = {"name": OTHER, "namespace": VICTIM, "version": VERSION}
    yield Attempt("model with a namespace", aim, (deployment("foreign", model=reference),))
    source = {"namespace": VICTIM, "name": OTHER}
    yield Attempt("model with a source", aim, (model("sourced", source=source),))


def _addresses() -> Iterator[Attempt]:
    uris = {
        f"file://{TOKEN}/token": "an account's token",
        "https://169.254.169.254/latest/meta-data": "the cloud's metadata",
        "http://169.254.169.254/latest/meta-data": "the cloud's metadata",
        f"https://kubernetes.default.svc/api/v1/namespaces/{VICTIM}/secrets": "the API server",
        "https://user:password@store.invalid/x": "credentials in an address",
        "https://store.invalid/x?token=y": "credentials in an address",
        "s3://models/../../secrets": "another part of the store",
        f"pvc://{VICTIM}/data": "another namespace's claim",
        f"pvc://{VICTIM}.data/x": "another namespace's claim",
        "pvc://../../var/lib/kubelet": "the host",
        "pvc:///etc/kubernetes": "the host",
        f"pvc://claim/../..{TOKEN}": "an account's token",
        "hostpath:///etc": "the host",
        "oci://registry.invalid/x": "another scheme",
        "gs://bucket/x": "another scheme",
        "s3://models/x --insecure": "an option of the command",
        "s3://models/`id`": "a shell",
        "s3://models/;cat</etc/passwd": "a shell",
        "s3://models/x\nhostNetwork: true": "the pod's template",
        f"https://store.invalid/{VARIABLE}": "a Secret's content",
        "s3://$(KUBERNETES_SERVICE_HOST)/x": "the API server",
    }
    for number, (uri, aim) in enumerate(uris.items()):
        entry = version(uri, secretName=CONSENTED)
        yield Attempt(f"package at {uri!r}", aim, (model(f"uri-{number}", entry),))
    away = version(f"https://store.invalid/{VARIABLE}", secretName=CONSENTED)
    steps = (
        model(SWAPPED),
        model(SWAPPED, away),
        deployment("swapped", model={"name": SWAPPED, "version": VERSION}),
    )
    yield Attempt("address changed after the verdict", "a Secret's content", steps)


def _secrets() -> Iterator[Attempt]:
    names = (
        WITHHELD,
        f"{VICTIM}/{CONSENTED}",
        f"../{VICTIM}/{CONSENTED}",
        f"{CONSENTED}.{VICTIM}",
        "mooring-sync-key",
        "mooring-store/../team-db",
        "MOORING-STORE",
        "",
    )
    for number, name in enumerate(names):
        entry = version(secretName=name)
        yield Attempt(
            f"model's Secret {name!r}", "another Secret", (model(f"secret-{number}", entry),)
        )
    for field in ("secretName", "saltSecretName"):
        log: Document = {"uri": "s3://logs/x"}
        if field == "secretName":
            log[field] = WITHHELD
        else:
            log["fields"] = {"hash": ["age"], field: WITHHELD}
        yield Attempt(
            f"log's {field}", "another Secret", (deployment(f"log-{field.lower()}", **_log(log)),)
        )
    output = {"uri": "s3://models/x", "secretName": WITHHELD}
    yield Attempt("policy's Secret", "another Secret", (policy("output-secret", output=output),))


def _log(log: Document) -> Document:
    return {"predictionLog": log}


def _logs() -> Iterator[Attempt]:
    for number, uri in enumerate(
        ("file:///var/log", "http://169.254.169.254/x", f"pvc://{VICTIM}/x", "s3://a@b/x")
    ):
        yield Attempt(
            f"log at {uri!r}", "the host", (deployment(f"log-{number}", **_log({"uri": uri})),)
        )
    held = {"uri": f"s3://logs/{VARIABLE}", "secretName": CONSENTED}
    yield Attempt(
        "log named by a variable", "a Secret's content", (deployment("log-var", **_log(held)),)
    )
    for number, url in enumerate(
        (
            f"http://sink.invalid/{VARIABLE}",
            "http://user:password@sink.invalid/",
            "unix:///run/containerd/containerd.sock",
            f"file://{TOKEN}/token",
        )
    ):
        log = {"uri": "s3://logs/x", "secretName": CONSENTED, "events": {"url": url}}
        yield Attempt(
            f"events to {url!r}",
            "a Secret's content",
            (deployment(f"events-{number}", **_log(log)),),
        )
    log = {"uri": "s3://logs/x", "secretName": CONSENTED, "fields": {"include": [VARIABLE]}}
    yield Attempt("feature named as a variable", "a Secret's content", (
        deployment("feature", **_log(log)),
    ))  # fmt: skip


def _templates() -> Iterator[Attempt]:
    host = {"name": "host", "hostPath": {"path": "/"}}
    secret = {"name": "s", "secret": {"secretName": WITHHELD}}
    container = {
        "name": "c",
        "image": "attacker.invalid/x",
        "securityContext": {"privileged": True},
    }
    template = {"spec": {"hostNetwork": True, "volumes": [host], "containers": [container]}}
    source = {"secretKeyRef": {"name": WITHHELD, "key": "password"}}
    fields: dict[str, Document] = {
        "template": {"template": template},
        "podTemplate": {"podTemplate": template},
        "volumes": {"volumes": [host, secret]},
        "serviceAccountName": {"serviceAccountName": "payments-server"},
        "automountServiceAccountToken": {"automountServiceAccountToken": True},
        "hostNetwork": {"hostNetwork": True, "hostPID": True},
        "nodeName": {"nodeName": "mooring", "tolerations": [{"operator": "Exists"}]},
        "env": {"env": [{"name": "X", "valueFrom": source}]},
        "image": {"image": "attacker.invalid/x"},
        "scheduling": {"scheduling": {"priorityClassName": "system-node-critical"}},
        "runtime.image": {"runtime": {"image": "attacker.invalid/x", "env": [{"name": "X"}]}},
        "runtime.securityContext": {"runtime": {"securityContext": {"privileged": True}}},
        "resources.claims": {"resources": {"claims": [{"name": "device"}]}},
        "resources.devices": {"resources": {"limits": {"attacker.invalid/device": "1"}}},
    }
    for number, (name, spec) in enumerate(fields.items()):
        yield Attempt(f"spec.{name}", "the pod's template", (deployment(f"tpl-{number}", **spec),))
    verification = {"image": "attacker.invalid/x", "template": template}
    yield Attempt(
        "model's verification.image",
        "the Job's template",
        (model("tpl-model", version("s3://models/tpl"), verification=verification),),
    )
    job = {"serviceAccountName": "payments-server", "template": template}
    yield Attempt(
        "policy's job.template",
        "the Job's template",
        (policy("tpl-policy", job=job, engine={"template": template}),),
    )


def _amounts() -> Iterator[Attempt]:
    for number, (field, amount) in enumerate(
        (("memory", "1e100"), ("memory", "-1Gi"), ("cpu", "9" * 30), ("memory", VARIABLE))
    ):
        resources = {"limits": {field: amount}}
        yield Attempt(
            f"{field} of {amount[:24]!r}",
            "the node's resources",
            (deployment(f"amount-{number}", resources=resources),),
        )
    yield Attempt(
        "a million replicas", "the node's resources", (deployment("many", replicas=1_000_000),)
    )
    yield Attempt(
        "a deadline of ages",
        "the node's resources",
        (deployment("ages", runtime={"deadline": "999999d"}),),
    )


def _names() -> Iterator[Attempt]:
    aim = "somebody's object of that name"
    yield Attempt("deployment named as a Service", aim, (deployment(TAKEN),))
    yield Attempt("deployment whose Deployment is taken", aim, (deployment(TAKEN_DEPLOYMENT),))
    entry = version(f"s3://models/{TAKEN_MODEL}")
    yield Attempt("model whose Job is taken", aim, (model(TAKEN_MODEL, entry),))
    yield Attempt("deployment of a deployment's candidate", aim, (
        deployment(f"{TAKEN}-candidate"),
    ))  # fmt: skip
    for name in ("default", "kubernetes", f"x.{VICTIM}", "mooring-operator", "l" * 250):
        yield Attempt(f"deployment named {name[:24]!r}", aim, (deployment(name),))


def _metadata() -> Iterator[Attempt]:
    memory = {
        "mooring.dev/memory": '{"quarantine":[],"stable":{"image":"attacker.invalid/x"}}',
        "mooring.dev/intent": "0" * 16,
    }
    verbs = dict.fromkeys(
        [f"mooring.dev/{verb}" for verb in ("promote", "abort", "retry", "rollback-to", "approve")],
        f"../{VICTIM}/{OTHER}",
    )
    labels = {
        "app.kubernetes.io/managed-by": "mooring",
        "mooring.dev/deployment": TAKEN,
        "mooring.dev/model": OTHER,
        "mooring.dev/operator": VICTIM,
    }
    owner = {
        "apiVersion": "v1",
        "kind": "Secret",
        "name": WITHHELD,
        "uid": "00000000-0000-0000-0000-000000000000",
    }
    for name, metadata in {
        "memory of another revision": {"annotations": memory},
        "verbs with other objects": {"annotations": verbs},
        "labels of others' objects": {"labels": labels},
        "owner that is a Secret": {"ownerReferences": [owner]},
        "finalizer of somebody's": {"finalizers": ["kubernetes.io/pvc-protection"]},
        "namespace of the victim": {"namespace": VICTIM},
    }.items():
        document = deployment(f"meta-{name.split()[0]}")
        document["metadata"] |= metadata
        yield Attempt(name, "somebody's object", (document,))


def _statuses() -> Iterator[Attempt]:
    evil = {
        "revision": "a" * 12,
        "version": VERSION,
        "digest": digest_of(VERSION),
        "uri": "s3://attacker/x",
        "secretName": CONSENTED,
        "image": "attacker.invalid/x",
        "since": "2026-01-01T00:00:00Z",
        "seq": 1,
        "reason": "Promoted",
    }
    forged = {"observedGeneration": 1, "stable": evil}
    entry = {
        "name": VERSION,
        "digest": digest_of("evil"),
        "uri": "s3://attacker/x",
        "origin": "Declared",
        "phase": "Verified",
    }
    verified = {"observedGeneration": 1, "versions": [entry]}
    aim = "an image of one's own"
    yield Attempt("status in the manifest", aim, (
        deployment("status-deployment") | {"status": forged},
    ))  # fmt: skip
    yield Attempt(
        "status subresource", aim, (deployment("d-plain") | {"status": forged},), "status"
    )
    unverified = model("status-model", version("s3://attacker/x") | {"digest": digest_of("evil")})
    wanted = deployment("status-wanted", model={"name": "status-model", "version": VERSION})
    yield Attempt("verdict in the manifest", aim, (unverified | {"status": verified}, wanted))
    yield Attempt("verdict subresource", aim, (unverified | {"status": verified},), "status")
    document = deployment("d-plain")
    document["spec"] = {"replicas": 1}
    yield Attempt("scale of somebody's", "somebody's Deployment", (document,), "scale")


def _policies() -> Iterator[Attempt]:
    aim = "another namespace's deployment"
    for number, name in enumerate((f"{VICTIM}/{OTHER}", f"../{OTHER}", OTHER)):
        yield Attempt(
            f"policy of {name!r}", aim, (policy(f"of-{number}", deployment={"name": name}),)
        )
    for number, uri in enumerate(("file:///etc", f"s3://models/{VARIABLE}", "https://x.invalid/x")):
        output = {"uri": uri, "secretName": CONSENTED}
        yield Attempt(
            f"policy writes to {uri!r}", "the store", (policy(f"to-{number}", output=output),)
        )
    for number, token in enumerate((VARIABLE, "a\nb", "../" * 40, "x" * 100_000)):
        document = policy(f"token-{number}")
        document["metadata"]["annotations"] = {"mooring.dev/retrain": token}
        yield Attempt(f"policy's token {token[:16]!r}", "the Job's template", (document,))
