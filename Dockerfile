# syntax=docker/dockerfile:1
# One image for each kind of program. The portal's holds no framework.
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir "uv>=0.9,<1"
WORKDIR /app
COPY pyproject.toml uv.lock ./

# In each stage the dependencies come first: they change seldom, and their layer is kept.
FROM build AS build-portal
RUN uv sync --frozen --no-dev --no-install-project
COPY . .
RUN uv sync --frozen --no-dev --no-editable

FROM build AS build-worker
RUN uv sync --frozen --no-dev --no-install-project --extra openvino
COPY . .
RUN uv sync --frozen --no-dev --no-editable --extra openvino

FROM build AS build-worker-gpu
RUN uv sync --frozen --no-dev --no-install-project --extra gpu
COPY . .
RUN uv sync --frozen --no-dev --no-editable --extra gpu

FROM build AS build-training
RUN uv sync --frozen --no-dev --no-install-project --extra training
COPY . .
RUN uv sync --frozen --no-dev --no-editable --extra training

FROM python:${PYTHON} AS runtime
# A new named volume takes the owner of the folder that it covers: these are the only places a program writes to.
RUN groupadd --gid 10001 dermabatch \
 && useradd --uid 10001 --gid dermabatch --home-dir /var/lib/dermabatch --create-home dermabatch \
 && install -d -m 0700 -o dermabatch -g dermabatch /var/cache/dermabatch /var/spool/dermabatch /runs
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/dermabatch
USER 10001:10001
ENTRYPOINT ["dermabatch"]

FROM runtime AS portal
COPY --from=build-portal /app/.venv /app/.venv
EXPOSE 8000
CMD ["web", "--bind", "0.0.0.0:8000"]

FROM runtime AS worker
COPY --from=build-worker /app/.venv /app/.venv
CMD ["worker"]

FROM runtime AS worker-gpu
COPY --from=build-worker-gpu /app/.venv /app/.venv
CMD ["worker"]

FROM runtime AS training
COPY --from=build-training /app/.venv /app/.venv
CMD ["train", "--help"]
