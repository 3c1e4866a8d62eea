"""JSON Schemas of this model's requests and answers, as its signature and the limits have them.

A schema says what can be said of a value by itself. That a tensor has as many values as its shape
says, that all have the same rows, and that each feature is given once, no JSON Schema can say; the
descriptions do, and such a request is answered 400.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.datatypes import NUMBERS, Datatype
from mooring_serving.protocol.signature import MATRIX_NAME, Feature, Output, Signature

Schema: TypeAlias = dict[str, object]

_SHOWN_CATEGORIES = 1000
"""Categories of a feature that the document lists."""
_INTEGERS = tuple(item.value for item, bounds in NUMBERS.items() if bounds.integer)
_FLOATS = tuple(item.value for item, bounds in NUMBERS.items() if not bounds.integer)


def infer_request(signature: Signature, limits: TensorLimits) -> Schema:
    """The body of an inference request."""
    ways: list[Schema] = [
        {
            "title": "one tensor a feature, each once, in any order",
            "minItems": len(signature.features),
            "maxItems": len(signature.features),
            "items": _any_of([_column(item, signature, limits) for item in signature.features]),
        }
    ]
    if signature.accepts_matrix:
        ways.append(
            {
                "title": "one matrix of all features, in the order of the model's metadata",
                "minItems": 1,
                "maxItems": 1,
                "items": _matrix(signature),
            }
        )
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {
                "type": ["string", "null"],
                "pattern": "^[A-Za-z0-9._-]+$",
                "minLength": 1,
                "maxLength": limits.id_length,
                "description": "Echoed in the answer.",
            },
            "parameters": _parameters(limits, "binary_data_output"),
            "inputs": {"type": "array"} | _any_of(ways),
            "outputs": {
                "type": ["array", "null"],
                "maxItems": limits.outputs,
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"enum": [item.name for item in signature.outputs]},
                        "parameters": _parameters(limits, "binary_data"),
                    },
                },
                "description": "The outputs that are wanted, in this order, each once at most; "
                "all of them when absent or empty.",
            },
        },
    }


def infer_answer(signature: Signature, *, name: str, version: str) -> Schema:
    """The body of an inference answer."""
    return {
        "type": "object",
        "required": ["model_name", "model_version", "outputs", "parameters"],
        "properties": {
            "model_name": {"const": name},
            # A request may be answered by a pod of the candidate's version.
            "model_version": {"type": "string", "examples": [version]},
            "id": {"type": "string"},
            "parameters": {
                "type": "object",
                "required": ["prediction_id"],
                "properties": {
                    "prediction_id": {
                        "type": "string",
                        "description": "The receipt that a label is sent with later.",
                    }
                },
            },
            "outputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": len(signature.outputs),
                "items": _any_of([_output(item) for item in signature.outputs]),
            },
        },
    }


def feedback_request(most: int) -> Schema:
    """The body of a request that brings labels."""
    return {
        "type": "object",
        "required": ["labels"],
        "properties": {
            "labels": {
                "type": "array",
                "minItems": 1,
                "maxItems": most,
                # An entry that cannot be used is named in the answer, which takes the others.
                "items": {
                    "description": "An object of prediction_id (text), label (a value, or a list "
                    "with one for each row) and, optionally, label_time (RFC 3339)."
                },
            }
        },
    }


def feedback_answer() -> Schema:
    """What became of the labels."""
    count: Schema = {"type": "integer", "minimum": 0}
    rejected: Schema = {
        "type": "object",
        "required": ["index", "error"],
        "properties": {"index": count, "error": {"type": "string"}},
    }
    return {
        "type": "object",
        "required": ["accepted", "duplicate", "rejected"],
        "properties": {
            "accepted": count,
            "duplicate": count,
            "rejected": {"type": "array", "items": rejected},
        },
    }


def closed(properties: Mapping[str, Schema]) -> Schema:
    """An object of exactly these properties."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": dict(properties),
        "additionalProperties": False,
    }


def _any_of(schemas: Sequence[Schema]) -> Schema:
    return dict(schemas[0]) if len(schemas) == 1 else {"anyOf": list(schemas)}


def _parameters(limits: TensorLimits, binary: str) -> Schema:
    """An object of parameters; `binary` is the one that asks for outputs as bytes."""
    return {
        "type": ["object", "null"],
        "properties": {binary: {"type": "boolean"}},
        "maxProperties": limits.parameters,
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    }


def _tensor(
    name: str, datatypes: Sequence[str], shape: Schema, data: Schema, description: str
) -> Schema:
    return {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "description": description,
        "properties": {
            "name": {"const": name},
            "datatype": {"enum": list(datatypes)},
            "shape": {"type": "array"} | shape,
            "data": data,
        },
    }


def _column(feature: Feature, signature: Signature, limits: TensorLimits) -> Schema:
    value, description = _value(feature, limits)
    shape: Schema = {
        "prefixItems": [_rows(signature)],
        "items": {"const": 1},
        "minItems": 1,
        "maxItems": 2,
    }
    data: Schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": signature.max_rows,
        "items": {
            "anyOf": [value, {"type": "array", "minItems": 1, "maxItems": 1, "items": value}]
        },
    }
    return _tensor(feature.name, _datatypes(feature), shape, data, description)


def _matrix(signature: Signature) -> Schema:
    width = len(signature.features)
    value: Schema = {"type": ["number", "null"] if any(signature.nullable) else "number"}
    shape: Schema = {
        "prefixItems": [_rows(signature), {"const": width}],
        "minItems": 2,
        "maxItems": 2,
    }
    data: Schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": signature.max_rows * width,
        "items": {
            "anyOf": [
                value,
                {"type": "array", "minItems": width, "maxItems": width, "items": value},
            ]
        },
    }
    names = ", ".join(feature.name for feature in signature.features[:64])
    more = "" if width <= 64 else f" and {width - 64} more"
    return _tensor(
        MATRIX_NAME, (*_INTEGERS, *_FLOATS), shape, data, f"Rows of {names}{more}, in this order."
    )


def _rows(signature: Signature) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": signature.max_rows}


def _datatypes(feature: Feature) -> tuple[str, ...]:
    if feature.datatype in (Datatype.BYTES, Datatype.BOOL):
        return (feature.datatype.value,)
    return (*_INTEGERS, *_FLOATS)


def _value(feature: Feature, limits: TensorLimits) -> tuple[Schema, str]:
    """The schema of one value of a feature, and what it means."""
    null = ["null"] if feature.nullable else []
    missing = "; null when it is missing" if feature.nullable else ""
    match feature.datatype:
        case Datatype.BOOL:
            return {"type": ["boolean", *null]}, f"A flag{missing}."
        case Datatype.BYTES:
            known = list(feature.categories or ())[:_SHOWN_CATEGORIES]
            schema: Schema = {"type": ["string", *null], "maxLength": limits.text_bytes}
            if known:
                schema |= {"examples": known[:3], "x-mooring-categories": known}
            return schema, (
                f"A category{missing}. One that training did not know is answered, and counted as "
                "unseen."
            )
        case _:
            return {"type": ["number", *null]}, (
                f"A number{missing}; of an integer datatype, an integer within its range, else at "
                "most 3.4e38 in size."
            )


def _output(output: Output) -> Schema:
    value: Schema
    match output.datatype:
        case Datatype.BYTES:
            value = {"type": "string"}
        case Datatype.BOOL:
            value = {"type": "boolean"}
        case _ if NUMBERS[output.datatype].integer:
            value = {"type": "integer"}
        case _:
            value = {"type": "number"}
    rank = 1 if output.width == 1 else 2
    return {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": output.name},
            "datatype": {"const": output.datatype.value},
            "shape": {
                "type": "array",
                "items": {"type": "integer", "minimum": 1},
                "minItems": rank,
                "maxItems": rank,
            },
            "data": {"type": "array", "items": value},
        },
    }
