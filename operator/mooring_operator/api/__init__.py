"""The vocabulary: types of the custom resources, their conditions and reasons.

Validation only. Imports nothing of ours but `ids`; the CRDs in `crds/` are generated from here.
"""
