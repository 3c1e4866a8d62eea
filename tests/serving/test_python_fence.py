"""The fence around a model of code: what it tries is refused, what it could read is not there."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from mooring_model.prediction import PredictionFailed
from mooring_model.python.process import ModelProcess
from tests.builders.code_packages import ask, code_package

ATTEMPTS = {
    "open a socket": "import socket; socket.socket()",
    "make a socket pair": "import socket; socket.socketpair()",
    "fork": "import os; os.fork()",
    "start a program": "import subprocess; subprocess.run(['/bin/true'])",
    "replace itself": "import os; os.execv('/bin/true', ['true'])",
    "write a file": "open(TARGET, 'w').write('x')",
    "make a folder": "import os; os.mkdir(TARGET)",
    "link a file": "import os; os.symlink('/etc/passwd', TARGET)",
    "remove a file": "import os; os.unlink(VICTIM)",
    "rename a file": "import os; os.rename(VICTIM, TARGET)",
    "empty a file": "import os; os.truncate(VICTIM, 0)",
    "change a mode": "import os; os.chmod(VICTIM, 0o777)",
    "signal its parent": "import os; os.kill(os.getppid(), 9)",
    "signal its parent's group": "import os; os.killpg(os.getpgid(os.getppid()), 9)",
    "trace its parent": "import ctypes, os; l = ctypes.CDLL(None, use_errno=True); "
    "assert l.ptrace(16, os.getppid(), 0, 0) == 0",
    "raise its own limit": "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (4096, 4096))",
    "limit its parent": "import os, resource as r; r.prlimit(os.getppid(), r.RLIMIT_CPU, (9, 9))",
    "pickle through a pool": "import multiprocessing as m; m.Process(target=print).start()",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_fence_refuses_code_that_would(tmp_path: Path, attempt: str) -> None:
    """Each attempt runs in predict(); its error comes back, and nothing has happened."""
    victim, target = tmp_path / "victim", tmp_path / "target"
    victim.write_text("kept")
    victim.chmod(0o644)
    source = f"""
class Model:
    def __init__(self, directory):
        self.calls = 0

    def predict(self, columns):
        VICTIM, TARGET = {str(victim)!r}, {str(target)!r}
        if columns["x"][0] == -1:
            {ATTEMPTS[attempt]}
        return {{"prediction": 2 * columns["x"]}}
"""
    with closing(ModelProcess(code_package(tmp_path, source))) as process:
        assert process.filtered
        if attempt == "raise its own limit" and os.getuid() == 0:
            pytest.skip("the kernel lets root raise limits")
        with pytest.raises(PredictionFailed, match="Error"):
            ask(process, -1)
        assert ask(process, 4) == [8, 8]
    assert victim.read_text() == "kept"
    assert victim.stat().st_mode & 0o777 == 0o644
    assert not target.exists()


def test_code_sees_no_variable_and_no_descriptor_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOORING_RECEIPT_KEY", "k" * 32)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s" * 32)
    secret = tmp_path / "open-in-the-server"
    secret.write_text("secret")
    source = """
import os
import numpy as np
class Model:
    def __init__(self, directory):
        names = [n for n in os.environ if n.startswith(("MOORING", "AWS"))]
        links = []
        for number in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink("/proc/self/fd/" + number))
            except OSError:
                pass
        self.seen = len(names) + 10 * sum("open-in-the-server" in link for link in links)
        self.cwd = os.getcwd() == str(directory)
    def predict(self, columns):
        if columns["x"][0] == -1:
            return {"prediction": np.array([self.seen, self.cwd])}
        return {"prediction": 2 * columns["x"]}
"""
    with secret.open() as stream:
        os.set_inheritable(stream.fileno(), True)
        with closing(ModelProcess(code_package(tmp_path, source))) as process:
            assert ask(process, -1) == [0, 1]
