"""Training scripts: `python -m training.<kind>` trains, evaluates and saves an artifact."""
