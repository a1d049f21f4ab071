"""How the service leaves this folder: locked requirements, the container image, compose, dashboards.

lock.py        the serving requirements, with hashes
engine.py      the container engine of this machine
base.py        the image that everything is built on
builder.py     the base with the locked wheels, which `bentoml containerize` builds on
image.py       Bento -> image, through `bentoml containerize`
pruning.py     what the image leaves out of its packages
inventory.py   the bill of materials beside the image; listing.py tells it from inside what is installed
container/     the two Containerfiles, and the list of what is left out
"""
