"""What a retraining Job runs: snapshot, tune, train, evaluate, package.

The Job reads the prediction and label logs of one deployment, freezes them as a snapshot with a
digest, fits a challenger to its older rows, and compares it with the champion, re-scored on the
identical newer rows. It knows object stores and model packages, and nothing of Kubernetes: its
task comes in one environment variable and its verdict leaves in one termination message
(`operator/docs/contracts.md` §7). `mooring train` calls `mooring_training.command.run`.
"""
