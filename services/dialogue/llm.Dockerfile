# The small language model server: llama.cpp on a CPU, with an OpenAI API. The model is a volume.
#   docker build -f services/dialogue/llm.Dockerfile -t halfbeat/llm .
ARG BASE_IMAGE=python:3.11-slim-bookworm

# --- The same lines in every Dockerfile, so that these layers are built and kept once.
FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements/build.txt deploy/docker/install.sh ./
RUN python -m venv /tools && /tools/bin/python -m pip install --quiet --require-hashes --requirement build.txt
COPY requirements/core.txt ./
RUN sh install.sh core.txt /packages/core

# --- From here on, this image's own.
COPY requirements/llm.txt llm.txt
RUN sh install.sh llm.txt /packages/llm
COPY pyproject.toml README.md LICENSE ./
COPY halfbeat halfbeat
COPY services/__init__.py services/
COPY services/dialogue services/dialogue
RUN /tools/bin/python -m pip install --quiet --no-deps --no-index --no-build-isolation --target /app . && rm -rf /app/bin

# --- The same lines again.
FROM ${BASE_IMAGE}
RUN groupadd --gid 10001 halfbeat \
  && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin halfbeat \
  && install -d -o 10001 -g 10001 /cache/models /state
COPY deploy/docker/healthy.py /
COPY --from=build /packages/core /packages/core

# --- This image's own.
COPY --from=build /packages/llm /packages/llm
# llama.cpp is built with OpenMP, which the wheel does not bring.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /app /app
ENV PYTHONPATH=/app:/packages/core:/packages/llm \
  PYTHONUNBUFFERED=1 \
  PYTHONDONTWRITEBYTECODE=1 \
  OMP_NUM_THREADS=1 \
  HALFBEAT_HTTP_HOST=0.0.0.0 \
  HALFBEAT_HTTP_PORT=8080 \
  HALFBEAT_CACHE=/cache
WORKDIR /app
USER 10001:10001
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-I", "-S", "/healthy.py", "8081", "/health"]
ENTRYPOINT ["python", "-m", "services.dialogue.llama_server"]
CMD ["--host", "0.0.0.0", "--port", "8081"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="halfbeat llm" \
  org.opencontainers.image.description="Voice agent: llama.cpp with an OpenAI API" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}" \
  org.opencontainers.image.source="https://github.com/halfbeat/halfbeat" \
  org.opencontainers.image.licenses="Apache-2.0"
