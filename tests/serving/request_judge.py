"""A slow and simple judge of inference requests, written from the documentation.

It shares no code with the server: JSON by the standard library, ranges as plain numbers, one value
at a time. Given any bytes it says whether they are a request of the model and, if so, its rows.
"""

import json
import math
import re
import struct
from dataclasses import dataclass, field
from typing import Any, cast

FLOAT_MAX = 3.4028234663852886e38
RANGES: dict[str, tuple[float, float]] = {
    **{f"INT{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)},
    "FP16": (-65504.0, 65504.0),
    "BF16": (-3.3895313892515355e38, 3.3895313892515355e38),
    "FP32": (-FLOAT_MAX, FLOAT_MAX),
    "FP64": (-FLOAT_MAX, FLOAT_MAX),
}
CODES = {
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "BOOL": "B",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
    "BF16": "H",
}
MAX_ROWS = 1000
ELEMENTS = 1 << 22


class Invalid(Exception):
    """The request is not one of the model; says why."""


@dataclass(frozen=True)
class Column:
    """A feature: `number`, `flag` or `text`."""

    name: str
    kind: str
    nullable: bool = False
    datatype: str = "FP64"


@dataclass(frozen=True)
class Model:
    """What the judge knows of a model."""

    columns: tuple[Column, ...]
    outputs: tuple[str, ...]

    @property
    def takes_matrix(self) -> bool:
        """Whether one matrix may stand for all features."""
        return all(column.kind == "number" for column in self.columns)


@dataclass(frozen=True)
class Valid:
    """A valid request, as the judge read it."""

    id: str | None
    rows: int
    outputs: tuple[str, ...]
    binary: frozenset[str]
    values: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])


def judge_json(body: bytes, model: Model) -> Valid:
    """The request in a JSON body.

    Raises:
        Invalid: It is none.
    """
    return _judge(_parse(body), model)


def judge_binary(body: bytes, header: bytes, model: Model) -> Valid:
    """The request in a body with tensors as bytes.

    Raises:
        Invalid: It is none.
    """
    if not re.fullmatch(rb"[0-9]{1,18}", header) or int(header) > len(body):
        raise Invalid("header")
    length = int(header)
    raw = body[length:]
    if length == 0:
        return _judge(_whole_body(raw, model), model)
    document = _parse(body[:length])
    inputs = document.get("inputs")
    for tensor in cast("list[Any]", inputs) if isinstance(inputs, list) else []:
        if not isinstance(tensor, dict):
            continue
        parameters = cast("dict[str, Any]", tensor).get("parameters")
        if isinstance(parameters, dict) and "binary_data_size" in parameters:
            parameters = cast("dict[str, Any]", parameters)
            size = parameters.pop("binary_data_size")
            if type(size) is not int or not 0 <= size <= len(raw) or "data" in tensor:
                raise Invalid("binary_data_size")
            tensor["data"] = _unpack(raw[:size], cast("dict[str, Any]", tensor))
            raw = raw[size:]
    if raw:
        raise Invalid("bytes that belong to no tensor")
    return _judge(document, model)


def _whole_body(raw: bytes, model: Model) -> dict[str, Any]:
    datatypes = {column.datatype for column in model.columns}
    if not model.takes_matrix or len(datatypes) > 1:
        raise Invalid("the model has several datatypes")
    (datatype,) = datatypes
    width = len(model.columns)
    size = struct.calcsize(f"<{width}{CODES[datatype]}")
    if not raw or len(raw) % size:
        raise Invalid("not whole rows")
    rows = len(raw) // size
    tensor = {"name": "input", "datatype": datatype, "shape": [rows, width]}
    tensor["data"] = _unpack(raw, tensor)
    return {"inputs": [tensor], "parameters": {"binary_data_output": True}}


def _unpack(raw: bytes, tensor: dict[str, Any]) -> list[Any]:
    """The values, None for NaN."""
    total = math.prod(_shape(tensor))
    datatype = tensor.get("datatype")
    if datatype == "BYTES":
        return _texts(raw, total)
    if not isinstance(datatype, str) or datatype not in CODES:
        raise Invalid("datatype")
    code = CODES[datatype]
    if len(raw) != struct.calcsize(f"<{code}") * total:
        raise Invalid("number of bytes")
    values: list[Any] = list(struct.unpack(f"<{total}{code}", raw))
    if datatype == "BOOL":
        if not set(values) <= {0, 1}:
            raise Invalid("a byte that is no flag")
        return [value == 1 for value in values]
    if datatype == "BF16":
        values = [struct.unpack("<f", struct.pack("<I", value << 16))[0] for value in values]
    return [None if isinstance(v, float) and math.isnan(v) else v for v in values]


def _texts(raw: bytes, total: int) -> list[Any]:
    values: list[Any] = []
    for _ in range(total):
        if len(raw) < 4:
            raise Invalid("a length is missing")
        (length,) = struct.unpack_from("<I", raw)
        text = raw[4 : 4 + length]
        if len(text) != length:
            raise Invalid("a text is cut short")
        try:
            values.append(text.decode())
        except UnicodeDecodeError as error:
            raise Invalid("not UTF-8") from error
        raw = raw[4 + length :]
    if raw:
        raise Invalid("bytes after the last text")
    return values


def _parse(body: bytes) -> dict[str, Any]:
    def number(text: str) -> float:
        value = float(text)
        if math.isinf(value):
            raise Invalid("a number beyond doubles")
        return value

    def integer(text: str) -> int:
        number(text)
        return int(text)

    def constant(text: str) -> float:
        raise Invalid(f"{text} is not JSON")

    try:
        text = body.decode()
        document = json.loads(text, parse_float=number, parse_int=integer, parse_constant=constant)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair
    except (ValueError, RecursionError) as error:
        raise Invalid("not JSON") from error
    if not isinstance(document, dict):
        raise Invalid("not an object")
    found = cast("dict[str, Any]", document)
    read = {"inputs", "outputs", "parameters", "id", "labels"}
    if any(_depth(found[name]) > 16 for name in found.keys() - read):
        raise Invalid("too deep")
    return found


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(item) for item in cast("dict[str, Any]", value).values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in cast("list[Any]", value)), default=0)
    return 0


def _judge(document: dict[str, Any], model: Model) -> Valid:
    tensors = _tensors(document.get("inputs"))
    parameters = _parameters(document.get("parameters"))
    default = _flag(parameters, "binary_data_output")
    outputs, binary = _outputs(document.get("outputs"), model, default=default)
    identity = document.get("id")
    if identity is not None and not (
        isinstance(identity, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,128}", identity)
    ):
        raise Invalid("id")
    if list(tensors) == ["input"] and model.takes_matrix:
        rows, values = _matrix(tensors["input"], model)
    else:
        rows, values = _columns(tensors, model)
    return Valid(identity, rows, outputs, binary, values)


def _tensors(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, list) or not 1 <= len(cast("list[Any]", value)) <= 4096:
        raise Invalid("inputs")
    tensors: dict[str, dict[str, Any]] = {}
    for item in cast("list[Any]", value):
        if not isinstance(item, dict):
            raise Invalid("inputs[]")
        tensor = cast("dict[str, Any]", item)
        name = tensor.get("name")
        if not isinstance(name, str) or not name or name in tensors:
            raise Invalid("name")
        own = tensor.get("parameters")
        if own is not None and (
            not isinstance(own, dict)
            or len(cast("dict[str, Any]", own)) > 64
            or "binary_data_size" in own
        ):
            raise Invalid("parameters of a tensor")
        tensors[name] = tensor
    return tensors


def _parameters(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(cast("dict[str, Any]", value)) > 64:
        raise Invalid("parameters")
    parameters = cast("dict[str, Any]", value)
    if not all(isinstance(item, str | int | float) for item in parameters.values()):
        raise Invalid("parameters.*")
    return parameters


def _flag(parameters: dict[str, Any], name: str, *, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Invalid(name)
    return value


def _outputs(value: Any, model: Model, *, default: bool) -> tuple[tuple[str, ...], frozenset[str]]:
    if value is None or value == []:
        return model.outputs, frozenset(model.outputs if default else ())
    if not isinstance(value, list) or len(cast("list[Any]", value)) > 64:
        raise Invalid("outputs")
    names: list[str] = []
    binary: set[str] = set()
    for item in cast("list[Any]", value):
        if not isinstance(item, dict):
            raise Invalid("outputs[]")
        wanted = cast("dict[str, Any]", item)
        name = wanted.get("name")
        if not isinstance(name, str) or name not in model.outputs or name in names:
            raise Invalid("outputs[].name")
        names.append(name)
        if _flag(_parameters(wanted.get("parameters")), "binary_data", default=default):
            binary.add(name)
    return tuple(names), frozenset(binary)


def _shape(tensor: dict[str, Any]) -> list[int]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not 1 <= len(cast("list[Any]", shape)) <= 8:
        raise Invalid("shape")
    sizes = cast("list[Any]", shape)
    if not all(type(size) is int and size >= 1 for size in sizes) or math.prod(sizes) > ELEMENTS:
        raise Invalid("shape")
    return sizes


def _flat(value: Any, shape: list[int]) -> list[Any]:
    """The values of flat or wholly nested data of this shape."""
    if not isinstance(value, list):
        raise Invalid("data")
    items = cast("list[Any]", value)
    if len(shape) > 1 and items and isinstance(items[0], list):
        if len(items) != shape[0]:
            raise Invalid("data")
        rows = [_flat_nested(item, shape[1:]) for item in items]
        return [cell for row in rows for cell in row]
    if len(items) != math.prod(shape):
        raise Invalid("data")
    return items


def _flat_nested(value: Any, shape: list[int]) -> list[Any]:
    if not isinstance(value, list) or len(cast("list[Any]", value)) != shape[0]:
        raise Invalid("data")
    return cast("list[Any]", value)


def _check(value: Any, datatype: str, column: Column) -> Any:
    if value is None:
        if column.nullable:
            return None
        raise Invalid("null")
    kind = {"BYTES": "text", "BOOL": "flag"}.get(datatype, "number")
    if kind != column.kind:
        raise Invalid("datatype")
    if kind == "text" and (not isinstance(value, str) or len(value) > 4096):
        raise Invalid("text")
    if kind == "flag" and not isinstance(value, bool):
        raise Invalid("flag")
    if kind == "number":
        _check_number(value, datatype)
    return value


def _check_number(value: Any, datatype: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid("number")
    if "INT" in datatype and not isinstance(value, int):
        raise Invalid("integer")
    low, high = RANGES[datatype]
    if not low <= value <= high:
        raise Invalid("range")


def _datatype(tensor: dict[str, Any]) -> str:
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in (*RANGES, "BYTES", "BOOL"):
        raise Invalid("datatype")
    return datatype


def _matrix(tensor: dict[str, Any], model: Model) -> tuple[int, dict[str, list[Any]]]:
    datatype, shape = _datatype(tensor), _shape(tensor)
    width = len(model.columns)
    if datatype not in RANGES or len(shape) != 2 or shape[1] != width or shape[0] > MAX_ROWS:
        raise Invalid("matrix")
    cells = _flat(tensor.get("data"), shape)
    values = {
        column.name: [_check(cell, datatype, column) for cell in cells[at::width]]
        for at, column in enumerate(model.columns)
    }
    return shape[0], values


def _columns(tensors: dict[str, dict[str, Any]], model: Model) -> tuple[int, dict[str, list[Any]]]:
    if set(tensors) != {column.name for column in model.columns}:
        raise Invalid("names")
    values: dict[str, list[Any]] = {}
    lengths: set[int] = set()
    for column in model.columns:
        tensor = tensors[column.name]
        datatype, shape = _datatype(tensor), _shape(tensor)
        if len(shape) > 2 or shape[1:] not in ([], [1]) or shape[0] > MAX_ROWS:
            raise Invalid("shape of a column")
        if {"BYTES": "text", "BOOL": "flag"}.get(datatype, "number") != column.kind:
            raise Invalid("datatype of a column")
        lengths.add(shape[0])
        cells = _flat(tensor.get("data"), shape)
        values[column.name] = [_check(cell, datatype, column) for cell in cells]
    if len(lengths) != 1:
        raise Invalid("rows")
    return lengths.pop(), values
