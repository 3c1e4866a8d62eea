"""One module per command of `mooring`."""
