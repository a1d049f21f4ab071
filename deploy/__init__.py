"""Set-up, locked requirements, the container image, compose, dashboards.

install.py            installs the development environment: uv, or pip
lock.py               the paths and the reader of the locks
engine.py             the container engine of this machine
base.py               the image that the others are built on
builder.py            the base with the locked wheels, on which `bentoml containerize` builds
image.py              Bento -> image, through `bentoml containerize`
pruning.py            removes unused files of packages from the image
inventory.py          the bill of materials of an image; metadata_archive.py runs inside it
container/            the two Containerfiles, and the list of removed files
"""
