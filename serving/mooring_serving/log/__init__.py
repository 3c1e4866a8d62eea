"""The prediction log and the label log: Parquet segments written off the request path.

Writing never delays or fails a prediction: rows wait in a bounded queue, and what does not fit is
dropped and counted. A killed pod loses at most one open segment of each log.
"""
