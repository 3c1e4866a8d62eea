"""A real single-node Kubernetes for tests and the demo, built from package registries.

Nothing here is a fake: etcd, the API server, the kubelet, containerd and CoreDNS are the released
programs, compiled from pinned Go modules. Tests and the demo call `cluster.ensure_up`; people call
`python -m tests.cluster_tools`. Nothing in the shipped packages imports this one.
"""
