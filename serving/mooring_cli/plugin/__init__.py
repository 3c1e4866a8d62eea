"""`kubectl mooring`: a thin plugin over kubectl and what a ModelDeployment's status says."""
