"""Request and response types that all kinds of models share."""
