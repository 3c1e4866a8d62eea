"""What a command imports: an init container runs `mooring fetch` at each start of a pod."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mooring_model.manifest import package_digest, read_manifest, verify_files
from tests.serving.packaged_models import packaged

HEAVY = ("onnx", "onnxruntime", "pandas", "pyarrow", "scipy", "skl2onnx", "skops", "sklearn")
STORES = ("aiobotocore", "botocore", "fsspec", "httpx", "s3fs")
FETCH_MIB = 80
BEGIN = "import json, os, sys\nfrom pathlib import Path\n"
REPORT = """
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
names = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([sorted(names), int(peak.split()[1])]))
"""


@dataclass(frozen=True)
class Process:
    """What a process had at its end."""

    modules: frozenset[str]
    peak_kib: int


def run(code: str, *arguments: str) -> Process:
    """Runs Python code in a process of its own."""
    said = subprocess.check_output(
        [sys.executable, "-c", BEGIN + code + REPORT, *arguments],
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "serving")},
    )
    modules, peak = json.loads(said.splitlines()[-1])
    return Process(frozenset(modules), peak)


@pytest.mark.parametrize("stored", ["onnx", "skops"])
def test_fetch_of_a_directory_is_light_whatever_the_format(stored: str, tmp_path: Path) -> None:
    directory = packaged("mixed", "onnx" if stored == "onnx" else "skops")
    code = """
sys.argv = ["mooring", "fetch", "--uri", sys.argv[1], "--digest", sys.argv[2], "--out", sys.argv[3]]
from mooring_cli.main import main
try:
    main()
except SystemExit as ended:
    assert not ended.code
"""
    digest = package_digest(read_manifest(directory))
    ended = run(code, f"file://{directory}", digest, str(tmp_path / "out"))
    assert not ended.modules & {*HEAVY, *STORES}
    assert ended.peak_kib < FETCH_MIB * 1024
    assert (tmp_path / "out" / f"model.{stored}").is_file()


def test_serving_onnx_imports_neither_scikit_learn_nor_pandas() -> None:
    code = """
from mooring_model.load import load_package
load_package(Path(sys.argv[1]))
"""
    ended = run(code, str(packaged("mixed")))
    assert "onnxruntime" in ended.modules
    assert not ended.modules & {*HEAVY, *STORES} - {"onnxruntime"}


def test_verification_of_onnx_imports_neither_scikit_learn_nor_pandas() -> None:
    code = """
from mooring_model.verify import check, replay
check(Path(sys.argv[1]), None)
replay(Path(sys.argv[1]))
"""
    assert not run(code, str(packaged("mixed"))).modules & {*HEAVY, *STORES} - {"onnxruntime"}


def test_fetch_fills_a_mount_although_nothing_above_it_may_be_written(tmp_path: Path) -> None:
    """As in a pod: a user without rights, an empty directory of theirs, a read-only root."""
    parent, user = tmp_path / "parent", os.geteuid() or 65532
    shutil.copytree(packaged("binary"), parent / "pvc" / "store" / "p")
    (parent / "mount").mkdir()
    os.chown(parent / "mount", user, -1)
    parent.chmod(0o555)
    code = """
import mooring_model.stores.directory
from mooring_model.storage import Access, fetch
os.chdir(sys.argv[1])
os.setuid(int(sys.argv[2]))
try:
    Path("forbidden").mkdir()
except PermissionError:
    for _ in range(2):
        fetch("pvc://store/p", sys.argv[3], Path("mount"), access=Access(pvc_root=Path("pvc")))
else:
    raise AssertionError("the parent could be written")
"""
    digest = package_digest(read_manifest(packaged("binary")))
    run(code, str(parent), str(user), digest)
    parent.chmod(0o755)
    assert verify_files(parent / "mount", digest)
