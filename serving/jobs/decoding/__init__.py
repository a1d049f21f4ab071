"""Decode uploaded files into a job's items, in a limited child process."""
