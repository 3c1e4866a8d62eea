"""The `mooring` command: thin over the packages, one module a command, imports on first use."""
