"""kopf: the outer shell that watches. Only stateless `on.event` handlers, and no decisions.

Nothing else of kopf is used: it writes nothing into the cluster, keeps no state in objects, and
could be replaced by any other source of watch events.
"""
