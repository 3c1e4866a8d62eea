"""The outside world: one module per foreign library or service, each behind a small type.

Nothing here decides anything. Foreign exceptions end here, as those of `errors.py`.
"""
