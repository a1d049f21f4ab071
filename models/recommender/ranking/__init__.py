"""Candidate generation and ranking."""
