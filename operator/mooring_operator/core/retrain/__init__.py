"""Decisions about a RetrainPolicy: when a run starts, what it is told, and how it ended.

Pure. `plan.decide` is the entry. A run is named by what set it off, so that nothing trains twice.
"""
