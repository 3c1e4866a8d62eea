"""Children as values: what each object of a ModelDeployment must look like, from spec and status.

Pure builders of server-side-apply manifests. They read no observation, so that any crash between
writing a status and applying its children converges on the next look.
"""
