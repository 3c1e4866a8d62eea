"""Worker processes: what they share, who starts them, and how they end.

One supervisor owns the management port and all decisions; each worker runs an event loop and the
model. They share counters and the route as memory (`layout`, `memory`, `board`), everything else
goes over one socket pair for each worker (`channel`).
"""
