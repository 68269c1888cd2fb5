# The service of a trained run, on the CPU, as a user without rights. Build: docker build -t imder .
# Start: see compose.yaml, or docs/service.md.
FROM python:3.12-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
RUN python -m venv /opt/imder \
 && /opt/imder/bin/pip install --no-cache-dir --constraint constraints.txt --index-url "$TORCH_INDEX" torch \
 && /opt/imder/bin/pip install --no-cache-dir --constraint constraints.txt ".[serve,extract,face]"

FROM python:3.12-slim
RUN useradd --no-create-home --uid 10001 imder
COPY --from=build /opt/imder /opt/imder
ENV PATH=/opt/imder/bin:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp NUMBA_CACHE_DIR=/tmp
USER imder
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["imder", "serve"]
CMD ["/srv/run", "--host", "0.0.0.0", "--token-file", "/run/secrets/token", "--device", "cpu"]
