"""Rules as a model: decision tables and expressions, parsed by our own grammar, run by numpy.

Nothing of the author's text is executed: no eval, no exec, no Python syntax tree.
"""
