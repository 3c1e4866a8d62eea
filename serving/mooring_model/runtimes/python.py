"""The python runtime: a package's own code in a process of its own, answering like any model.

`predict` gives `prediction` [n] for a regression; `probability` for a classification, [n] of the
positive class or [n, classes] in the order of schema.json. Rows are independent of one another:
the server may put rows of several requests into one call.
"""

from pathlib import Path

import numpy as np

from mooring_model.prediction import Columns, FloatArray, PredictionFailed
from mooring_model.python.process import ModelProcess
from mooring_model.schema import ModelSchema


class PythonRuntime:
    """The model's process, asked for the one output that its task needs.

    Args:
        path: the package's declaration, python.json.
        schema: what the model takes and gives.
    """

    def __init__(self, path: Path, schema: ModelSchema) -> None:
        self.process = ModelProcess(path.parent)
        self._names = [spec.name for spec in schema.inputs]
        self._classes = len(schema.classes or ())
        positive = schema.positive_class
        self._positive = None if positive is None else (schema.classes or ()).index(positive)

    def probabilities(self, columns: Columns) -> FloatArray:
        """Probabilities [n, classes]; see `Runtime`."""
        given = self._ask("probability", columns)
        if self._positive is not None and given.ndim == 1:
            pair = [1.0 - given, given]
            given = np.column_stack(pair if self._positive == 1 else pair[::-1])
        if given.ndim != 2 or given.shape[1] != self._classes:
            raise PredictionFailed(f"the model gives {given.shape} for {self._classes} classes")
        return given

    def values(self, columns: Columns) -> FloatArray:
        """Predicted values [n]; see `Runtime`."""
        given = self._ask("prediction", columns)
        if given.size != len(given):
            raise PredictionFailed(f"the model gives {given.shape} numbers, one a row is expected")
        return given.reshape(-1)

    def _ask(self, output: str, columns: Columns) -> FloatArray:
        rows = len(columns[self._names[0]])
        answers = self.process.call({name: columns[name] for name in self._names})
        given = answers.get(output)
        if given is None or given.ndim == 0 or len(given) != rows:
            shapes = {name: values.shape for name, values in answers.items()}
            raise PredictionFailed(
                f"the model answers {str(shapes)[:200]}, {output} of {rows} rows is expected"
            )
        return given
