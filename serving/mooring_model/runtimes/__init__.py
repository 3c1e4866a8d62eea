"""One module per model format: loading a verified file and predicting with it."""
