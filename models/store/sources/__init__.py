"""Sources of artifacts outside the model store: `s3://`, `https://`, `file://`, `hf://`, `mlflow://`, `models:/`.

`schemes.py` opens the source of a text; one file per scheme reads it. `fetch.py` copies an artifact into the store,
`resolve.py` finds the local version of a source. The page is docs/sources.md.
"""
