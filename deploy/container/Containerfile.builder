# What `bentoml containerize` builds on: the base, and beside it the wheels that pip has downloaded and checked, so that
# the build reaches no network and takes no other file than the locked ones. Nothing of this layer is in the final image.
ARG BASE
FROM ${BASE}
COPY uv /usr/local/bin/uv
COPY wheels /opt/wheels
ENV UV_OFFLINE=1 UV_NO_INDEX=1 UV_FIND_LINKS=/opt/wheels UV_LINK_MODE=copy UV_NO_CACHE=1
