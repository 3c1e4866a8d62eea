"""The prediction log, the label log and payload events: all written off the request path.

Writing never delays or fails a prediction: rows wait in a bounded queue, and what does not fit is
dropped and counted. Rows are journaled on the pod's own disk within 250 ms, so that a killed
process loses no more than that, and its successor in the same pod counts what was lost
(operator/docs/contracts.md §6).
"""
