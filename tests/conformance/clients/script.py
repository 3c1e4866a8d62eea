"""What every client of the conformance matrix shares: the setting, and a record of behaviours.

Runs in foreign environments: standard library and numpy alone. A client is called with the path
of the setting and prints one JSON object, `{behaviour: null | what went wrong}`.
"""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

DTYPES = {"FP64": "float64", "INT64": "int64", "BOOL": "bool", "BYTES": "object"}
REQUEST_ID = "conformance-42"
UNKNOWN = "nobody"


class _Checking:
    """A block whose failure is recorded instead of ending the client."""

    def __init__(self, results: dict[str, str | None], behaviour: str) -> None:
        self._results = results
        self._behaviour = behaviour

    def __enter__(self) -> None:
        self._results.setdefault(self._behaviour, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if kind is None:
            return True
        if not issubclass(kind, Exception):
            return False
        # The first failure of a behaviour is the one that says most.
        if self._results[self._behaviour] is None:
            self._results[self._behaviour] = f"{kind.__name__}: {error}"[:500]
        return True


class Served:
    """One model that is served, with rows and the answers that they must get."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.http: int = document["http"]
        self.grpc: int | None = document["grpc"]
        self.model: str = document["model"]
        self.version: str = document["version"]
        self.inputs: dict[str, dict[str, Any]] = document["inputs"]
        self.outputs: dict[str, dict[str, Any]] = document["outputs"]
        self.matrix: list[list[float]] | None = document["matrix"]

    @property
    def host(self) -> str:
        """Host and port of REST."""
        return f"127.0.0.1:{self.http}"

    @property
    def grpc_host(self) -> str:
        """Host and port of gRPC; without one nothing answers, and every behaviour is a miss."""
        return f"127.0.0.1:{self.grpc or 9}"

    @property
    def values(self) -> Any:
        """The rows as one matrix, float64 [rows, features]."""
        return np.array(self.matrix, dtype=np.float64)

    def column(self, name: str) -> Any:
        """One input [rows, 1]; text is bytes, as these clients want it."""
        tensor = self.inputs[name]
        if tensor["datatype"] == "BYTES":
            raw = [[str(value).encode()] for value in tensor["data"]]
            return np.array(raw, dtype=np.object_)
        return np.array(tensor["data"], dtype=DTYPES[tensor["datatype"]]).reshape(-1, 1)

    def check_output(self, name: str, found: Any) -> None:
        """Compare an output with what the model must say.

        Raises:
            AssertionError: It says something else.
        """
        assert found is not None, f"there is no output {name}"
        wanted = self.outputs[name]
        flat = np.asarray(found).reshape(-1)
        assert len(flat) == len(wanted["data"]), f"{name} has {len(flat)} values"
        if wanted["datatype"] == "BYTES":
            texts = [value.decode() if isinstance(value, bytes) else str(value) for value in flat]
            assert texts == wanted["data"], f"{name} is {texts}"
        else:
            close = np.allclose(flat.astype(float), wanted["data"], atol=1e-5)
            assert close, f"{name} is {flat[:4]}, not {wanted['data'][:4]}"


class Script:
    """The record of one client's run."""

    def __init__(self, numeric: Served, text: Served, scratch: Path) -> None:
        self.numeric = numeric
        self.text = text
        self.scratch = scratch
        self.results: dict[str, str | None] = {}

    def check(self, behaviour: str) -> _Checking:
        """A block that tries a behaviour; one that is tried in several ways must pass in all."""
        return _Checking(self.results, behaviour)

    def refuses(self, behaviour: str, wanted: str) -> "_Refusing":
        """A block that must raise an error which mentions `wanted`."""
        return _Refusing(self.results, behaviour, wanted)

    def report(self) -> None:
        """Print the record."""
        sys.stdout.write(json.dumps(self.results) + "\n")


class _Refusing(_Checking):
    def __init__(self, results: dict[str, str | None], behaviour: str, wanted: str) -> None:
        super().__init__(results, behaviour)
        self._wanted = wanted

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        said = f"{error!r} {error}"  # some clients keep the status out of one of them
        if kind is not None and issubclass(kind, Exception) and self._wanted in said:
            return True
        what = f"{said} does not mention {self._wanted}" if kind else "nothing was refused"
        wrong = AssertionError(what)
        return super().__exit__(AssertionError, wrong, None)


def open_script() -> Script:
    """Read the setting that the command line names."""
    document = json.loads(Path(sys.argv[1]).read_text())
    return Script(Served(document["numeric"]), Served(document["text"]), Path(document["scratch"]))
