"""Decisions: pure functions from an observation and a time to a Decision.

No I/O, no clock, no log, no kopf, no kubernetes. `reconcile/` calls them; `io/` carries them out.
"""
