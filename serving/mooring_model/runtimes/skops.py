"""The skops runtime: scikit-learn estimators without pickle.

The trusted types are a fixed list of ours; a package that needs another is refused by its name.
What the artifact says of itself is never trusted (MLflow's skops flaw of 2026).
"""

import importlib
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.prediction import Array, Columns, FloatArray, PredictionFailed
from mooring_model.runtimes.trees import TreeInvalid, check_trees
from mooring_model.schema import Datatype, ModelSchema

_pandas: Any = importlib.import_module("pandas")
_io: Any = importlib.import_module("skops.io")

TRUSTED = (
    "numpy.dtype",
    "sklearn._loss.link.HalfLogitLink",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfPoissonLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)
"""Beyond skops' own defaults; each is a plain container of numbers in scikit-learn.

The two kinds of tree hold indices that scikit-learn does not check, so `check_trees` does. KDTree
is missing on purpose: nobody checks its indices.
"""

SKOPS_ERRORS = (
    OSError, ValueError, KeyError, IndexError, TypeError, ImportError, AttributeError, EOFError,
    RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading and rebuilding a broken file can raise; RecursionError is a RuntimeError."""
ESTIMATOR_ERRORS = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError,
    MemoryError, NotImplementedError,
)  # fmt: skip
"""What an estimator raises on rows that it cannot answer."""


class SkopsRuntime:
    """A scikit-learn estimator, fed a table."""

    def __init__(self, path: Path, schema: ModelSchema) -> None:
        self._estimator = load_estimator(path)
        self._schema = schema
        self._named = hasattr(self._estimator, "feature_names_in_")
        self._classes = len(schema.classes or ())
        answers = "predict_proba" if self._classes else "predict"
        if not hasattr(self._estimator, answers):
            raise PackageRefused(
                RefusalReason.SCHEMA_INVALID,
                f"{path.parent}: {path.name}: {type(self._estimator).__name__} has no {answers}",
                "use an estimator that predicts what schema.json declares; a classifier without "
                "probabilities can be wrapped in CalibratedClassifierCV",
            )

    def probabilities(self, columns: Columns) -> FloatArray:
        """Probabilities [n, classes]; see `Runtime`."""
        given = self._ask("predict_proba", columns)
        if given.ndim != 2 or given.shape[1] != self._classes:
            raise PredictionFailed(f"the model gives {given.shape} for {self._classes} classes")
        return given

    def values(self, columns: Columns) -> FloatArray:
        """Predicted values [n]; see `Runtime`."""
        given = self._ask("predict", columns)
        if given.size != len(given):
            raise PredictionFailed(f"the model gives {given.shape} numbers, one a row is expected")
        return given.reshape(-1)

    def _ask(self, method: str, columns: Columns) -> FloatArray:
        try:
            return np.asarray(getattr(self._estimator, method)(self._table(columns)), np.float64)
        except ESTIMATOR_ERRORS as error:
            raise PredictionFailed(f"{type(error).__name__}: {str(error)[:300]}") from error

    def _table(self, columns: Columns) -> Any:
        """A frame with the schema's columns, or a bare matrix when the estimator knows no names."""
        specs = self._schema.inputs
        values = {
            spec.name: _texts(columns[spec.name])
            if spec.datatype is Datatype.BYTES
            else columns[spec.name].reshape(-1)
            for spec in specs
        }
        if self._named:
            return _pandas.DataFrame(values)
        if any(spec.datatype is Datatype.BYTES for spec in specs):
            return _pandas.DataFrame(values).to_numpy(dtype=object)
        return np.column_stack(list(values.values()))


def _texts(column: Array) -> Any:
    """A text column as pandas reads one from a file: missing values are NaN."""
    return _pandas.array(column.reshape(-1).tolist(), dtype="str")


def load_estimator(path: Path) -> Any:
    """The estimator in a .skops file.

    Raises:
        PackageRefused: LoadFailed; it needs an untrusted type, is broken, or holds a tree that
            points outside itself.
    """
    try:
        unknown = sorted(set(_io.get_untrusted_types(file=path)) - set(TRUSTED))
        if not unknown:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                estimator = _io.load(path, trusted=list(TRUSTED))
            check_trees(estimator)
            return estimator
    except (*SKOPS_ERRORS, TreeInvalid) as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{path.parent}: {path.name} does not load: {type(error).__name__}: {str(error)[:300]}",
            "save it again with skops.io.dump and this version of scikit-learn",
        ) from error
    raise PackageRefused(
        RefusalReason.LOAD_FAILED,
        f"{path.parent}: {path.name} needs types that are not trusted: {', '.join(unknown[:5])}",
        "export the model to ONNX, or use scikit-learn's own estimators",
    )
