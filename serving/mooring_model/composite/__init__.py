"""Several packages as one model: a directed graph of nodes, executed in one request."""
