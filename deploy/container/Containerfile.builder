# The image that `bentoml containerize` builds on: the base with the wheels that pip has downloaded and checked. The
# build needs no network and installs locked files only. No file of this layer is in the shipped image.
ARG BASE
FROM ${BASE}
COPY uv /usr/local/bin/uv
COPY wheels /opt/wheels
ENV UV_OFFLINE=1 UV_NO_INDEX=1 UV_FIND_LINKS=/opt/wheels UV_LINK_MODE=copy UV_NO_CACHE=1
