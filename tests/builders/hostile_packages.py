"""The table of hostile packages: files that are no files, lists that lie, disguised pickles.

Those of models are in `hostile_models`, those of code in `hostile_code`.
"""

import pickle

from tests.builders.hostile_code import CODES
from tests.builders.hostile_models import MODELS
from tests.builders.hostile_payloads import (
    CODE,
    CORRUPT,
    DEEP,
    EXTRA,
    FORMAT,
    HASH,
    LINK,
    LIST,
    PICKLE,
    Case,
    Payload,
    added_members,
    both_formats,
    bound_socket,
    changed_manifest,
    deep_folders,
    device,
    entry,
    extra_file,
    fifo,
    grown_file,
    hard_linked,
    inner_folder,
    joblibbed,
    link_chain,
    linked_folder,
    linked_manifest,
    linked_to_itself,
    listed_path,
    many_files,
    object_archive,
    object_array,
    raw_manifest,
    replaced,
    symlinked,
    terabyte,
    without_pickle_start,
    zipped,
)

FILES: dict[str, Case] = {
    # Disguised pickles.
    "pickle named onnx": Case(
        "onnx", replaced("model.onnx", lambda c: pickle.dumps(Payload(c))), PICKLE, "is a pickle"
    ),
    "pickle named skops": Case(
        "skops", replaced("model.skops", lambda c: pickle.dumps(Payload(c))), PICKLE, "pickle"
    ),
    "pickle in text": Case(
        "onnx", replaced("model.onnx", without_pickle_start), PICKLE, "is a pickle"
    ),
    "joblib": Case("skops", replaced("model.skops", lambda c: joblibbed(c, 0)), PICKLE, "pickle"),
    "compressed joblib": Case(
        "onnx", replaced("model.onnx", lambda c: joblibbed(c, ("zlib", 3))), PICKLE, "pickle"
    ),
    "pickle in a skops archive": Case(
        "skops", added_members(("data.pkl", lambda c: pickle.dumps(Payload(c)))), PICKLE, "data.pkl"
    ),
    "object array in a skops archive": Case(
        "skops", added_members(("9.npy", object_array)), PICKLE, "9.npy"
    ),
    "npz of objects": Case("skops", replaced("model.skops", object_archive), PICKLE, "weights.npy"),
    "pickle wrapped in a zip": Case(
        "onnx",
        replaced("model.onnx", lambda c: zipped(("model.onnx", pickle.dumps(Payload(c))))),
        PICKLE,
        "model.onnx:model.onnx",
    ),
    "pickle before an archive": Case(
        "skops",
        replaced(
            "model.skops", lambda c: pickle.dumps(Payload(c)) + zipped(("schema.json", b"{}"))
        ),
        PICKLE,
        "is a pickle",
    ),
    "pickle as a second model": Case("onnx", both_formats, FORMAT, "model.skops is there too"),
    "object array beside code": Case(
        "python", replaced("data/w.npy", object_array), PICKLE, "w.npy"
    ),
    "pickle beside code": Case(
        "python", replaced("data/w.pkl", lambda c: pickle.dumps(Payload(c))), CODE, "w.pkl"
    ),
    "pickle named csv": Case(
        "python", replaced("data/w.csv", lambda c: pickle.dumps(Payload(c))), CODE, "w.csv"
    ),
    "pickle named parquet": Case(
        "python", replaced("data/w.parquet", lambda c: pickle.dumps(Payload(c))), CODE, "Parquet"
    ),
    # Links and things that are no files.
    "symbolic link": Case("onnx", symlinked, LINK, "card.md is a link"),
    "hard link": Case("onnx", hard_linked, LINK, "card.md is a hard link", travels=False),
    "chain of links": Case("onnx", link_chain, LINK, "is a link"),
    "link to itself": Case("onnx", linked_to_itself, LINK, "is a link"),
    "linked folder of code": Case("python", linked_folder, LINK, "code is a link"),
    "linked manifest": Case(
        "onnx", linked_manifest, frozenset(("PackageNotFound", "LinkRefused")), "manifest.json"
    ),
    "pipe": Case("onnx", fifo, LINK, "plain file"),
    "device": Case("onnx", device, LINK, "card.md"),
    "socket": Case("onnx", bound_socket, LINK, "card.md", travels=False),
    "folder": Case("onnx", inner_folder, LINK, "inner", travels=False),
    "deep folders": Case("python", deep_folders, LINK, "code/a", travels=False),
    # Paths.
    "path upwards": Case("onnx", listed_path("../card.md"), LIST, "path"),
    "absolute path": Case("onnx", listed_path("/etc/passwd"), LIST, "path"),
    "path with NUL": Case("onnx", listed_path("card.md\0.txt"), LIST, "path"),
    "path with backslashes": Case("onnx", listed_path("..\\..\\card.md"), LIST, "path"),
    "path of unicode dots": Case("onnx", listed_path("\u2024\u2024/card.md"), LIST, "path"),
    "path of wide characters": Case("onnx", listed_path("\uff0e\uff0e\uff0fcard.md"), LIST, "path"),
    "path in percent signs": Case("onnx", listed_path("%2e%2e%2fcard.md"), LIST, "path"),
    "path of a drive": Case("onnx", listed_path("C:card.md"), LIST, "path"),
    "path upwards within code": Case("python", listed_path("code/../../card.md"), LIST, "path"),
    "path of 400 characters": Case("onnx", listed_path("a" * 400), LIST, "path"),
    "path in a folder": Case("onnx", listed_path("code/card.md"), LIST, "has no code/"),
    "path twice": Case(
        "onnx",
        changed_manifest(lambda d: d["files"].insert(0, d["files"][0])),
        LIST,
        "listed twice",
    ),
    "path twice but for case": Case(
        "onnx",
        changed_manifest(lambda d: d["files"].insert(0, d["files"][0] | {"path": "CARD.md"})),
        LIST,
        "upper and lower case",
    ),
    "file that is a folder too": Case(
        "python",
        changed_manifest(lambda d: d["files"].insert(1, d["files"][0] | {"path": "code"})),
        LIST,
        "as a file and as a folder",
    ),
    # The manifest.
    "manifest of too many files": Case(
        "onnx",
        raw_manifest(b'{"files":[' + b'{"path":"a","size":0,"sha256":""},' * 100_000 + b"{}]}"),
        LIST,
        "larger than",
    ),
    "deep manifest": Case("onnx", raw_manifest(DEEP), LIST, "manifest.json"),
    "manifest of huge numbers": Case(
        "onnx", raw_manifest(b'{"formatVersion":' + b"9" * 100_000 + b"}"), LIST, "manifest.json"
    ),
    "manifest with a number twice": Case(
        "onnx", raw_manifest(b'{"formatVersion":1,"formatVersion":2}'), LIST, "manifest.json"
    ),
    "manifest that is not UTF-8": Case("onnx", raw_manifest(b'{"a":"\xff"}'), LIST, "manifest"),
    "unknown format": Case(
        "onnx", changed_manifest(lambda d: d.update(format="pickle")), LIST, "format"
    ),
    "wrong digest": Case(
        "onnx",
        changed_manifest(lambda d: entry(d, "card.md").update(sha256=HASH)),
        CORRUPT,
        "card.md",
    ),
    "wrong size": Case(
        "onnx", changed_manifest(lambda d: entry(d, "card.md").update(size=1)), CORRUPT, "card.md"
    ),
    "negative size": Case(
        "onnx", changed_manifest(lambda d: entry(d, "card.md").update(size=-1)), LIST, "size"
    ),
    "unlisted file": Case("onnx", extra_file(b"model.py"), EXTRA, "model.py", travels=False),
    "hidden file": Case("onnx", extra_file(b".pth"), EXTRA, ".pth", travels=False),
    "name that is not UTF-8": Case("onnx", extra_file(b"\xff\xfe"), EXTRA, "", travels=False),
    "name that steers terminals": Case("onnx", extra_file(b"\x1b[2J"), EXTRA, "", travels=False),
    "thousands of files": Case("onnx", many_files, EXTRA, "more than", travels=False),
    "terabyte without bytes": Case("onnx", terabyte, LIST, "card.md"),
    "file longer than listed": Case("onnx", grown_file, CORRUPT, "model.onnx"),
}
CASES: dict[str, Case] = FILES | MODELS | CODES
