# Two images from one tree: `api` (API and light worker, no torch) and `worker` (torch with CUDA libraries, which also
# runs without a GPU). Dependencies come before the sources, so that a change of code does not install anything again.

FROM python:3.11-slim AS installer
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_SYSTEM_CERTS=1 \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    VIRTUAL_ENV=/opt/venv
RUN pip install --no-cache-dir uv && python -m venv --without-pip "$VIRTUAL_ENV"
WORKDIR /app
COPY pyproject.toml constraints.txt ./

FROM installer AS api-packages
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install -c constraints.txt -r pyproject.toml --extra service

FROM installer AS worker-packages
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install -c constraints.txt -r pyproject.toml --extra service --extra detector

# What both images have in common: an account without rights, the sources, a place for large temporary files.
FROM python:3.11-slim AS runtime
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TMPDIR=/scratch \
    STYLEFLOW_PACKS_DIRECTORY=/packs \
    STYLEFLOW_LOG_FORMAT=json
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin styleflow \
    && install -d -o styleflow -g styleflow -m 0700 /scratch
WORKDIR /app
COPY migrations ./migrations
COPY styleflow ./styleflow
COPY api ./api
COPY worker ./worker

FROM runtime AS worker-runtime
COPY --from=worker-packages /opt/venv /opt/venv

# The packs that come with StyleFlow. Mount others over /packs; of two with the same default no worker starts.
FROM worker-runtime AS weights
RUN python -m styleflow.cli.main weights install --directory /packs && chmod -R a+rX /packs

FROM worker-runtime AS worker
COPY --from=weights /packs /packs
USER styleflow
VOLUME ["/scratch"]
# A GPU worker loads its kernels lazily on the first start, which takes a while.
HEALTHCHECK --interval=20s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-m", "styleflow.cli.main", "health", "worker"]
CMD ["python", "-m", "worker", "--lanes", "realtime,standard,bulk"]

FROM runtime AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY --from=weights /packs /packs
USER styleflow
VOLUME ["/scratch"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-m", "styleflow.cli.main", "health", "api"]
CMD ["python", "-m", "uvicorn", "api.main:create_app", "--factory", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", "--no-proxy-headers", "--timeout-graceful-shutdown", "5"]
