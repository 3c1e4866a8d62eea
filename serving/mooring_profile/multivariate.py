"""How features hang together: principal components, and how far a row is from their plane.

Marginal distributions cannot show that two features stopped moving together. The distance of a row
from the plane of the reference's principal components (the reconstruction error) can, and its
histogram is counted, merged and judged as that of any feature.
"""

from dataclasses import dataclass

from mooring_profile.errors import ProfileInvalid
from mooring_profile.feature import FeatureProfile
from mooring_profile.fields import Fields

RECONSTRUCTION_STREAM = "@reconstruction"
"""Name of the stream that holds the reconstruction error."""


@dataclass(frozen=True)
class MultivariateProfile:
    """Principal components of the numeric features, and the error of all rows under them.

    Attributes:
        features: names of the features, in the order of the numbers below.
        median: what stands for a value that is missing or invalid.
        mean: of each feature.
        scale: standard deviation of each feature, > 0.
        components: orthonormal directions [components][features] of the standardised features.
        explained: share of the standardised features' variance along them, 0 to 1.
        error: distribution of the reconstruction error, named `@reconstruction`.
    """

    features: tuple[str, ...]
    median: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    explained: float
    error: FeatureProfile

    def __post_init__(self) -> None:
        sizes = {len(self.features), len(self.median), len(self.mean), len(self.scale)}
        sizes |= {len(component) for component in self.components}
        if len(sizes) != 1:
            raise ProfileInvalid(
                "multivariate: features, median, mean, scale and each component are of different "
                "lengths; package the model again"
            )
        if not all(scale > 0 for scale in self.scale):
            raise ProfileInvalid(f"multivariate.scale is {self.scale}; each must be above 0")
        if self.error.name != RECONSTRUCTION_STREAM:
            raise ProfileInvalid(
                f"multivariate.error is named {self.error.name!r}, not {RECONSTRUCTION_STREAM!r}"
            )

    def to_json(self) -> dict[str, object]:
        """Returns the JSON form."""
        return {
            "features": list(self.features),
            "median": list(self.median),
            "mean": list(self.mean),
            "scale": list(self.scale),
            "components": [list(component) for component in self.components],
            "explained": self.explained,
            "error": self.error.to_json(),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> "MultivariateProfile":
        """Reads the JSON form.

        Raises:
            ProfileInvalid: a field is absent, of the wrong type or out of its range.
        """
        return cls(
            features=fields.texts("features"),
            median=fields.numbers("median"),
            mean=fields.numbers("mean"),
            scale=fields.numbers("scale"),
            components=fields.matrix("components"),
            explained=fields.number("explained"),
            error=FeatureProfile.from_fields(fields.nested("error")),
        )
