"""mooring_cli."""
