# syntax=docker/dockerfile:1
# The gateway's core:             docker build -t gattway .
# With the embedded models:       docker build -t gattway --build-arg EXTRAS=local .
# Its books live in the volume /data; nothing else is written but what goes to /tmp:
#   docker run --read-only --tmpfs /tmp -v gattway:/data \
#     -v ./gattway.toml:/etc/gattway/gattway.toml:ro -e GATTWAY_CONFIG=/etc/gattway/gattway.toml -p 8000:8000 gattway
# It starts only with keys in its config (docs/keys.md); for this machine alone, without keys:
#   docker run -e GATTWAY_SERVER__OPEN=true … -p 127.0.0.1:8000:8000 gattway
# Without an engine: `make image-env DEST=folder` makes the same environment in a folder.

# A release names the base by its digest (docs/releasing.md).
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# Extras as pip takes them: local,postgres
ARG EXTRAS=""
# Where pip looks besides its usual index, such as PyTorch's index of CPU builds.
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY . .
RUN python deploy/image/build.py /opt/gattway --extras "${EXTRAS}"

FROM ${BASE}
RUN useradd --system --uid 10001 --home-dir /data --create-home gattway
COPY --from=build /opt/gattway /opt/gattway
ENV PATH=/opt/gattway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/tmp/huggingface \
    GATTWAY_LEDGER__PATH=/data/gattway.db
WORKDIR /data
VOLUME /data
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["gattway"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
