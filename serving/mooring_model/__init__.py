"""mooring_model."""
