"""`spec.predictionLog` as what the server's container needs; contracts §3 and §6. Pure."""

import json
from datetime import timedelta
from typing import Any

from mooring_operator.api.base import parse_duration
from mooring_operator.api.prediction_log import PredictionLog
from mooring_operator.core.decision import Manifest

JOURNAL_VOLUME = "log"
JOURNAL_DIRECTORY = "/var/lib/mooring-log"
JOURNAL_LIMIT = "512Mi"
"""Twice what the server lets wait there. A pod that passes it is evicted by the kubelet."""
SALT_KEY = "salt"
MIB = 1024 * 1024
_AGES = (timedelta(seconds=1), timedelta(hours=1))
_SHORTEST_RETENTION = timedelta(days=1)


def log_environment(log: PredictionLog | None) -> list[Manifest]:
    """The server's variables; empty without a log."""
    if log is None:
        return []
    values = {"MOORING_PREDICTION_LOG_URI": log.uri}
    document = _document(log)
    if document:
        values["MOORING_PREDICTION_LOG"] = json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
    values["MOORING_PREDICTION_LOG_JOURNAL"] = JOURNAL_DIRECTORY
    variables: list[Manifest] = [{"name": name, "value": value} for name, value in values.items()]
    salt = None if log.fields is None else log.fields.salt_secret_name
    if salt is not None:
        source = {"secretKeyRef": {"name": salt, "key": SALT_KEY}}
        variables.append({"name": "MOORING_PREDICTION_LOG_SALT", "valueFrom": source})
    return variables


def log_problem(log: PredictionLog | None) -> str | None:
    """Which duration cannot be meant, with the remedy; None when all are fine."""
    if log is None:
        return None
    if log.retention is not None and parse_duration(log.retention) < _SHORTEST_RETENTION:
        return (
            f"spec.predictionLog.retention is {log.retention}: whole days are deleted; set at least"
            " 1d, or leave it out to keep everything"
        )
    age = None if log.rotate is None else log.rotate.age
    if age is not None and not _AGES[0] <= parse_duration(age) <= _AGES[1]:
        return f"spec.predictionLog.rotate.age is {age}: set 1s to 1h, or leave it out"
    return None


def _document(log: PredictionLog) -> dict[str, Any]:
    """What the spec says beyond the URI, in the server's units (contract §6).

    What the server would not start with is told to the user instead: `log_problem`.
    """
    if log_problem(log) is not None:
        return {}
    document: dict[str, Any] = {}
    if log.sample is not None:
        document["sample"] = log.sample
    if log.fields is not None:
        fields = log.fields.to_wire()
        document |= {name: fields[name] for name in fields if name != "saltSecretName"}
    if log.retention is not None:
        document["retentionSeconds"] = parse_duration(log.retention).total_seconds()
    rotate = {} if log.rotate is None else log.rotate.to_wire()
    limits: dict[str, Any] = {}
    if "rows" in rotate:
        limits["rows"] = rotate["rows"]
    if "size" in rotate:
        limits["bytes"] = int(rotate["size"].removesuffix("Mi")) * MIB
    if "age" in rotate:
        limits["seconds"] = parse_duration(rotate["age"]).total_seconds()
    if limits:
        document["rotate"] = limits
    if log.events is not None:
        document["events"] = log.events.to_wire()
    return document
