"""Routes that all kinds of models share."""
