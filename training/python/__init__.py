"""Saving of artifacts of the user's own classes."""
