"""Replays the drift detector over a table, for people: what would it have said, and when?

Reads a reference and a stream of rows from Parquet or CSV, judges the stream window by window with
the statistics kernel, and tells the result as a value, as JSON or as one HTML page. The command
line calls it; nothing that serves does.
"""
