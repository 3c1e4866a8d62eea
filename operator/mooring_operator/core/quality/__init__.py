"""How right the served model is: from labels that come late, and from its own scores. Pure."""
