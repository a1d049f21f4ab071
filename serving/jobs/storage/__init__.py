"""Storage of jobs: a SQLite database and files of items and results."""
