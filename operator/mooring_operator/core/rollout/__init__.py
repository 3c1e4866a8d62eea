"""How a new revision is let in, judged, promoted, rolled back. `plan.decide` is the way in."""
