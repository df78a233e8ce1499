FROM python:3.11-slim

RUN useradd --system --create-home --home-dir /data --shell /usr/sbin/nologin parley
ENV PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PARLEY_DATA_DIR=/data
WORKDIR /app

COPY requirements/runtime.lock requirements/runtime.lock
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements/runtime.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .

# built once here, not by every container at its first question
RUN python -c "from pathlib import Path; from pipeline.embedding.minilm import graph_file; graph_file(Path('/data/models'))" \
    && chown -R parley /data
USER parley
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/ready', timeout=4)"]
CMD ["parley", "serve", "--host", "0.0.0.0"]
