"""mooring_training."""
