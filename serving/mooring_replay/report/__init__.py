"""A replay as one HTML page that needs nothing else: drawn here, no script, light and dark.

`readings` holds the numbers, `charts` and its neighbours draw them, `page` puts them together.
"""
