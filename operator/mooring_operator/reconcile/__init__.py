"""The loop: observe → decide → write status → apply → prune → push routes → tell.

Glue between `core` (which decides) and `io` (which acts). Knows neither kopf nor HTTP.
"""
