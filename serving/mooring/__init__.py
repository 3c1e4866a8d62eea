"""What a notebook imports: `mooring.package(model, data, target=…, out=…, name=…)`."""

from mooring_model.build import package

__all__ = ["package"]
