"""The one error of the cluster tools: what happened and what to do about it."""


class ClusterError(Exception):
    """The cluster cannot be brought up, used or taken down.

    The message says what failed, on which object, and the remedy; the command line prints it as
    is and exits with status 1.
    """
