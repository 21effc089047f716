"""From a manifest and predictions to numbers; needs no torch."""
