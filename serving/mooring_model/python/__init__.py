"""Format python: a package's own code, checked without running it and run in a fenced child.

`declaration`, `lock` and `check` look at the files and never import them. `wheels` unpacks the
locked libraries. `process` keeps the child that `child` and `fence` are the inside of; the two
talk as `wire` says, never with pickle.
"""
