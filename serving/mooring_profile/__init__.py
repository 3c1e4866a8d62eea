"""mooring_profile."""
