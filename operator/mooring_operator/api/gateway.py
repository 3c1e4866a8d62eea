"""How a deployment is reached through a Gateway of the Gateway API (traffic mode Gateway)."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from mooring_operator.api.base import SET_LIST, ApiModel, DnsLabel, Hostname, UrlPath


class GatewayReference(ApiModel):
    """The Gateway that clients come through, and which of its requests are for this deployment."""

    name: DnsLabel
    namespace: DnsLabel | None = None
    """Without it the deployment's own. Another one must admit routes from here
    (`allowedRoutes` of its listeners)."""
    section_name: DnsLabel | None = None
    """One of its listeners; without it all that admit the route."""
    hostnames: Annotated[list[Hostname], Field(max_length=16, json_schema_extra=SET_LIST)] = []
    """Without any, those of the listener."""
    path_prefix: UrlPath = "/"
    """Requests whose path begins so. Several deployments can share a hostname, each with
    `/v2/models/MODEL`."""


class RoutedStatus(ApiModel):
    """The share of the requests that the Gateway is known to give to the candidate."""

    weight: Annotated[int, Field(ge=0, le=100)]
    at: datetime
    """When the Gateway's controller had accepted the HTTPRoute with this weight."""
