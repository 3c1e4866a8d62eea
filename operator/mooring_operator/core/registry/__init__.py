"""Decisions about a Model: which versions exist, which are verified, where channels point.

Pure. `plan.decide` is the entry; `records` and `answers` read what others wrote.
"""
