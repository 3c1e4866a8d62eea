"""mooring_serving."""
