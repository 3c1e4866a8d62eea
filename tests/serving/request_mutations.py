"""Requests, most of them broken: valid ones with a few random changes, in JSON and in bytes.

Everything comes from one seeded generator, so a failure is found again by its seed.
"""

import copy
import json
import random
import struct
from dataclasses import dataclass
from typing import Any, cast

from tests.serving.request_judge import CODES, Column, Model

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 30, 0.0, 1.5, -0.0, 1e5, 7e4, 1e39, 1e308, -1e308, 5e-324),
    *(300, -129, 1 << 31, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 10**30, 10**400),
    *("", "x", "1", "FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL", "BYTES", "BF16", "fp64"),
    *("input", "label", "a b", "é", "\x00", "\ud800", "a" * 129, "A" * 5000),
    *([], [[]], [1], [1, 1], [1, 30], [30, 1], [1, 30, 1], [-1, 30], [0], [1.0], [True], {}),
    *({"name": "label"}, {"binary_data_size": 8}, {"a": {}}, [None], float("nan"), float("inf")),
)
TOKENS = (
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"1e",
        b"-",
    ),
    *(b"null", b"true", b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\x00", b"\xff", b"\xc3"),
    *(
        b'"\\ud800"',
        b"'x'",
        b"//",
        b"/**/",
        b"\xef\xbb\xbf",
        b"\n",
        b" ",
        b"0x10",
        b"1_000",
        b"9" * 400,
    ),
)


@dataclass(frozen=True)
class Sent:
    """One generated request: its body, and its header for tensors as bytes."""

    body: bytes
    length: bytes | None = None


def make_json(draw: random.Random, model: Model) -> Sent:
    """A JSON request with none to three changes."""
    document = _document(draw, model)
    for _ in range(draw.choice((0, 0, 1, 1, 1, 2, 3))):
        document = _change(draw, document)
    return Sent(_damage(draw, _dump(document), 0.3))


def make_binary(draw: random.Random, model: Model) -> Sent:
    """A request with tensors as bytes with none to three changes."""
    if draw.random() < 0.1:
        width = 8 * len(model.columns) * draw.randint(0, 3) + draw.choice((0, 0, 0, 1, -1, 8))
        return Sent(_noise(draw, max(0, width)), draw.choice((b"0", b"0", b"00", b"1")))
    document = _document(draw, model)
    raw = b""
    for tensor in document["inputs"]:
        column = next((c for c in model.columns if c.name == tensor["name"]), model.columns[0])
        if draw.random() < 0.8:
            data = _pack(tensor, column)
            tensor.pop("data")
            tensor.setdefault("parameters", {})["binary_data_size"] = len(data)
            raw += data
    if draw.random() < 0.3:
        document["parameters"] = {"binary_data_output": draw.choice((True, False, 1, "true"))}
    for _ in range(draw.choice((0, 0, 1, 1, 2))):
        document = _change(draw, document)
    head = _damage(draw, _dump(document), 0.15)
    return Sent(head + _damage(draw, raw, 0.3), _length(draw, head))


def _length(draw: random.Random, head: bytes) -> bytes:
    exact = b"%d" % len(head)
    odd = (b"", b"-1", b"0", b"ten", b"1e2", b"+5", b" 7", b"9" * 30, b"%d" % (len(head) + 1))
    return draw.choice(odd) if draw.random() < 0.15 else exact


def _document(draw: random.Random, model: Model) -> dict[str, Any]:
    rows = draw.choice((1, 1, 1, 1, 1, 2, 2, 3, 3, 40))
    if model.takes_matrix and draw.random() < 0.5:
        tensors = [_matrix(draw, model, rows)]
    else:
        tensors = [_tensor(draw, column, rows) for column in model.columns]
        if draw.random() < 0.3:
            draw.shuffle(tensors)
    document: dict[str, Any] = {"inputs": tensors}
    if draw.random() < 0.3:
        document["id"] = draw.choice(("a", "req-1._x", "A" * 128))
    if draw.random() < 0.3:
        names = draw.sample(model.outputs, draw.randint(0, len(model.outputs)))
        document["outputs"] = [{"name": name} for name in names]
    if draw.random() < 0.2:
        document["parameters"] = {"note": draw.choice(("x", 1, 1.5, True))}
    if draw.random() < 0.1:
        document["unread"] = _nested(draw.choice((1, 15, 16, 17, 40)))
    return document


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def _matrix(draw: random.Random, model: Model, rows: int) -> dict[str, Any]:
    width = len(model.columns)
    datatype, values = _numbers(draw, rows * width)
    nested = [values[at : at + width] for at in range(0, len(values), width)]
    data = nested if draw.random() < 0.5 else values
    return {"name": "input", "datatype": datatype, "shape": [rows, width], "data": data}


def _tensor(draw: random.Random, column: Column, rows: int) -> dict[str, Any]:
    match column.kind:
        case "text":
            datatype, values = (
                "BYTES",
                cast("list[Any]", draw.choices(("AA", "UA", "é", ""), k=rows)),
            )
        case "flag":
            datatype, values = "BOOL", cast("list[Any]", draw.choices((True, False), k=rows))
        case _:
            datatype, values = _numbers(draw, rows)
    if column.nullable and draw.random() < 0.3:
        values[draw.randrange(rows)] = None
    flat = draw.random() < 0.7
    shape = [rows] if flat else [rows, 1]
    data = [[value] for value in values] if not flat and draw.random() < 0.7 else values
    return {"name": column.name, "datatype": datatype, "shape": shape, "data": data}


def _numbers(draw: random.Random, count: int) -> tuple[str, list[Any]]:
    datatype = draw.choice(
        ("FP64", "FP64", "FP64", "FP32", "FP16", "BF16", "INT64", "INT8", "UINT16")
    )
    if "INT" in datatype:
        return datatype, [draw.randint(0, 100) for _ in range(count)]
    return datatype, [
        draw.choice((round(draw.uniform(-9, 99), 3), draw.randint(0, 9))) for _ in range(count)
    ]


def _pack(tensor: dict[str, Any], column: Column) -> bytes:
    flat: list[Any] = []
    for item in tensor["data"]:
        flat += cast("list[Any]", item) if isinstance(item, list) else [item]
    if column.kind == "text":
        texts = [("" if value is None else value).encode() for value in flat]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    values = [float("nan") if value is None else value for value in flat]
    datatype = tensor["datatype"]
    if datatype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    if "INT" in datatype:
        values = [0 if value != value else value for value in values]
    return struct.pack(f"<{len(values)}{CODES[datatype]}", *values)


def _change(draw: random.Random, document: dict[str, Any]) -> dict[str, Any]:
    """Replace, delete, repeat, wrap or add at a random place."""
    document = copy.deepcopy(document)
    places = _places(document)
    if not places:
        return document
    # Every other time near the top, where the meaning is.
    near = [place for place in places if not isinstance(place[1], int) or len(place[0]) < 4]
    holder, key = draw.choice(near or places) if draw.random() < 0.7 else draw.choice(places)
    match draw.randrange(6):
        case 0 | 1:
            holder[key] = copy.deepcopy(draw.choice(ODD_VALUES))
        case 2:
            del holder[key]
        case 3:
            holder[key] = [holder[key]]
        case 4 if isinstance(holder, list):
            items = cast("list[Any]", holder)
            items.insert(key, copy.deepcopy(items[key]))
        case _:
            if isinstance(holder, dict):
                name = draw.choice(
                    ("parameters", "extra", "data", "shape", "id", "outputs", "name")
                )
                holder[name] = copy.deepcopy(draw.choice(ODD_VALUES))
    return document


def _places(node: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    if isinstance(node, dict):
        for key, child in cast("dict[str, Any]", node).items():
            found += [(node, key), *_places(child)]
    if isinstance(node, list):
        for key, child in enumerate(cast("list[Any]", node)):
            found += [(node, key), *_places(child)]
    return found


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _damage(draw: random.Random, body: bytes, chance: float) -> bytes:
    """Bytes cut, repeated, overwritten or put in between."""
    if draw.random() >= chance:
        return body
    at = draw.randint(0, len(body))
    match draw.randrange(6):
        case 0:
            return body[:at]
        case 1:
            return body[at:]
        case 2:
            return body[:at] + draw.choice(TOKENS) + body[at:]
        case 3:
            return body[:at] + draw.choice(TOKENS) + body[at + 1 :]
        case 4:
            return body[:at] + bytes([draw.randrange(256)]) + body[at + 1 :]
        case _:
            end = draw.randint(at, min(len(body), at + 40))
            return body[:end] + body[at:]


def _noise(draw: random.Random, size: int) -> bytes:
    return struct.pack(f"<{size // 8}d", *(draw.uniform(-9, 9) for _ in range(size // 8))) + bytes(
        size % 8
    )
