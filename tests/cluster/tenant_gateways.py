"""What a tenant tries by the fields that make an HTTPRoute, and what a maker of routes tries.

The tenant has no right on HTTPRoutes, so that any route is one too many. The other one must get by
us nothing but a route of his namespace to his own deployment's Services.
"""

from collections.abc import Iterator
from typing import Any

from tests.cluster.tenant_attempts import (
    ROUTER,
    TAKEN,
    TAKEN_ROUTE,
    TENANT,
    VARIABLE,
    VICTIM,
    VICTIMS_HOST,
    Attempt,
    Document,
    deployment,
)

OTHERS = "requests for somebody else"
FIELDS: tuple[tuple[str, Document], ...] = (
    (OTHERS, {}),
    (OTHERS, {"namespace": VICTIM}),
    (OTHERS, {"namespace": "kube-system"}),
    (OTHERS, {"namespace": f"../{VICTIM}"}),
    (OTHERS, {"namespace": "*"}),
    (OTHERS, {"name": f"{VICTIM}/web"}),
    (OTHERS, {"name": "*"}),
    (OTHERS, {"name": ""}),
    (OTHERS, {"namespace": VICTIM, "sectionName": "internal"}),
    (OTHERS, {"namespace": VICTIM, "sectionName": "http,internal"}),
    (OTHERS, {"namespace": VICTIM, "port": 8443}),
    (OTHERS, {"namespace": VICTIM, "hostnames": [VICTIMS_HOST]}),
    (OTHERS, {"namespace": VICTIM, "hostnames": ["*.example.com"]}),
    (OTHERS, {"hostnames": ["*"]}),
    (OTHERS, {"hostnames": [f"{VICTIMS_HOST}:443"]}),
    (OTHERS, {"hostnames": ["kubernetes.default.svc"]}),
    ("the proxy's configuration", {"hostnames": [f"{VICTIMS_HOST}\r\nx-admin: 1"]}),
    ("the proxy's configuration", {"hostnames": [f"a`) || Host(`{VICTIMS_HOST}"]}),
    (OTHERS, {"namespace": VICTIM, "hostnames": [VICTIMS_HOST], "pathPrefix": "/admin"}),
    ("another path", {"pathPrefix": "/../admin"}),
    ("another path", {"pathPrefix": "/v2/.."}),
    ("another path", {"pathPrefix": "/%2e%2e/admin"}),
    ("another path", {"pathPrefix": "//admin"}),
    ("the proxy's configuration", {"pathPrefix": "/x\r\nx-admin: 1"}),
    ("the proxy's configuration", {"pathPrefix": "/`) || PathPrefix(`/"}),
    ("a Secret's content", {"pathPrefix": f"/{VARIABLE}"}),
    ("a Service of somebody's", {"group": "", "kind": "Service", "name": TAKEN}),
    ("a Service of somebody's", {"parentRefs": [{"kind": "Service", "name": TAKEN}]}),
    ("a Service of somebody's", {"backendRefs": [{"name": "db", "namespace": VICTIM}]}),
    ("a Service of somebody's", {"rules": [{"backendRefs": [{"name": TAKEN}]}]}),
    (
        "a Service of somebody's",
        {"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": TAKEN}}}]},
    ),
    (
        "headers that a proxy vouches for",
        {"headers": [{"name": "x-forwarded-user", "value": "admin"}]},
    ),
)  # fmt: skip


def gateway_attempts() -> Iterator[Attempt]:
    """Each way for both people; names begin with the person's."""
    for person in (TENANT, ROUTER):
        for number, (aim, fields) in enumerate(FIELDS):
            name = f"{person}-gateway-{number}"
            yield _attempt(person, f"gateway {fields}", aim, deployment(name, **_by(**fields)))
        for name in (f"{TAKEN_ROUTE}-{person}", f"{TAKEN}-{person}"):
            taken = deployment(name, **_by())
            yield _attempt(person, f"route named {name}", "somebody's HTTPRoute", taken)
        for mode in ("Forward", "BlueGreen"):
            odd = _by()
            odd["traffic"]["mode"] = mode
            name = f"{person}-{mode.lower()}"
            yield _attempt(person, f"gateway in mode {mode}", OTHERS, deployment(name, **odd))
        name = f"{person}-turned"
        turned = (deployment(name), deployment(name, **_by(namespace=VICTIM)))
        yield _attempt(person, "gateway of a deployment that had none", OTHERS, *turned)
        sticky = {"traffic": {"mode": "Forward", "stickyHeader": "x-user\r\nx-admin: 1"}}
        injected = deployment(f"{person}-sticky", **sticky)
        yield _attempt(person, "header with a line of its own", "headers", injected)


def _attempt(person: str, what: str, aim: str, *steps: Document) -> Attempt:
    return Attempt(f"{person}: {what}", aim, steps, person=person)


def _by(**fields: Any) -> Document:
    return {"traffic": {"mode": "Gateway", "gateway": {"name": "web"} | fields}}
