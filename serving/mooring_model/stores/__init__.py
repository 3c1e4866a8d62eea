"""One module per kind of store. Each maps its library's errors to the built-in OSErrors."""
