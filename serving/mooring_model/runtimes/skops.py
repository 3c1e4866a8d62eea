"""The skops runtime: scikit-learn estimators without pickle.

The trusted types are a fixed list of ours; a package that needs another is refused by its name.
What the artifact says of itself is never trusted (MLflow's skops flaw of 2026).
"""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.prediction import Columns, FloatArray
from mooring_model.schema import Datatype, ModelSchema

_pandas: Any = importlib.import_module("pandas")
_io: Any = importlib.import_module("skops.io")

TRUSTED = (
    "numpy.dtype",
    "numpy.random._pickle.__bit_generator_ctor",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.HalfLogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfPoissonLoss",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss._loss.CyHalfSquaredError",
    "sklearn._loss._loss.CyHalfPoissonLoss",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""Beyond skops' own defaults; each is a plain container of numbers in scikit-learn."""


class SkopsRuntime:
    """A scikit-learn estimator, fed a table."""

    def __init__(self, path: Path, schema: ModelSchema) -> None:
        self._schema = schema
        self._estimator = load_estimator(path)

    def probabilities(self, columns: Columns) -> FloatArray:
        """Probabilities [n, classes]; see `Runtime`."""
        return np.asarray(self._estimator.predict_proba(self._table(columns)), np.float64)

    def values(self, columns: Columns) -> FloatArray:
        """Predicted values [n]; see `Runtime`."""
        return np.asarray(self._estimator.predict(self._table(columns)), np.float64).reshape(-1)

    def _table(self, columns: Columns) -> Any:
        """A frame with the schema's columns, or a bare matrix when the estimator knows no names."""
        frame = _pandas.DataFrame(
            {
                spec.name: ["" if value is None else value for value in columns[spec.name]]
                if spec.datatype is Datatype.BYTES
                else columns[spec.name]
                for spec in self._schema.inputs
            }
        )
        return frame if hasattr(self._estimator, "feature_names_in_") else frame.to_numpy()


def load_estimator(path: Path) -> Any:
    """The estimator in a .skops file.

    Raises:
        PackageRefused: LoadFailed; it needs an untrusted type, or is broken.
    """
    try:
        unknown = sorted(set(_io.get_untrusted_types(file=path)) - set(TRUSTED))
        if unknown:
            raise PackageRefused(
                RefusalReason.LOAD_FAILED,
                f"{path.parent}: {path.name} needs types that are not trusted: {unknown[:5]}",
                "export the model to ONNX, or use scikit-learn's own estimators",
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _io.load(path, trusted=list(TRUSTED))
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{path.parent}: {path.name} does not load: {error}",
            "save it again with skops.io.dump and this version of scikit-learn",
        ) from error
