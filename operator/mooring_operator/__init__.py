"""Mooring's control plane: a Kubernetes operator for the life of a model after the notebook."""
