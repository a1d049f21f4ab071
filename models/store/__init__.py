"""Artifacts in the BentoML model store: versions of models, their aliases, and where they come from.

`artifacts.py` finds versions, `saving.py` publishes new ones, `manifest.py` and `file_formats.py` say what they may
consist of. `artifact_cache.py` and `bento_models.py` are what a service reads, `usage.py` marks what it has loaded.
`aliases.py` (in `alias_file.py`) names versions, and `gate.py` judges them. `archive.py` and `sources/` bring artifacts
from elsewhere, unpacked by `unpacking.py`. `python -m models.store` shows (`overview.py`), promotes, deletes
(`deletion.py`) and exchanges versions.
"""
