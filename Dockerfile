# docker build -t inkling .                             for CPUs
# docker build -t inkling --build-arg TORCH_INDEX= .    for NVIDIA GPUs: PyPI's wheels bring CUDA (about 5 GB)
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/venv
WORKDIR /opt/inkling
RUN /opt/venv/bin/pip install ${TORCH_INDEX:+--index-url ${TORCH_INDEX}} 'torch>=2.14' torchvision
# The dependencies change less often than the code: they are installed for empty packages, which the code then fills.
COPY pyproject.toml ./
RUN mkdir -p app models training/evaluation training/retraining && touch inkling.py && /opt/venv/bin/pip install --editable '.[train,postgresql]'

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Inkling" \
      org.opencontainers.image.description="Reads handwritten digits over HTTP, and says so when it is not sure"
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin inkling \
    && install -d -o inkling -g inkling /var/lib/inkling
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/inkling
COPY pyproject.toml inkling.py ./
COPY models models
COPY training training
COPY app app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    INKLING_HOME=/var/lib/inkling INKLING_DATA=/var/lib/inkling/data INKLING_HOST=0.0.0.0
USER inkling
VOLUME /var/lib/inkling
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"INKLING_PORT\", 8000)}/health/ready', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["inkling"]
CMD ["serve"]
