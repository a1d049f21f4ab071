"""How the service leaves this folder: locked requirements, the container image, compose, dashboards.

lock.py        the serving requirements, with hashes
engine.py      the container engine of this machine
base.py        the image that everything is built on
image.py       Bento -> image, through `bentoml containerize`
inventory.py   the bill of materials beside the image
container/     the two Containerfiles
"""
