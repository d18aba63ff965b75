# docker build -t inkling .                             predicts and retrains, on CPUs
# docker build -t inkling --build-arg TORCH_INDEX= .    the same on NVIDIA GPUs: PyPI's wheels bring CUDA
# docker build -t inkling --target serve .              predicts and takes feedback, on CPUs, without PyTorch
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS core
RUN apt-get update && apt-get install --yes --no-install-recommends binutils 'tini=0.19.*'
WORKDIR /opt/inkling
COPY constraints.txt /tmp/
ENV PIP_CONSTRAINT=/tmp/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv --without-pip /opt/venv
# Dependencies change less often than the code: they are installed for empty packages, which the code then fills.
COPY pyproject.toml ./
COPY models/version.py models/
RUN mkdir app training && touch inkling.py app/__init__.py models/__init__.py training/__init__.py \
    && python3 -m pip --python /opt/venv/bin/python3 install --no-compile --editable '.[postgresql]'
# What is there to compile, to convert models and to test with. Licences stay. ONNX Runtime's module contains its library.
RUN python3 -m pip --python /opt/venv/bin/python3 uninstall --yes flatbuffers protobuf \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf onnxruntime/backend onnxruntime/datasets onnxruntime/quantization onnxruntime/tools \
        onnxruntime/transformers onnxruntime/capi/libonnxruntime.so.1* \
    && find . -type f '(' -name '*.a' -o -name '*.pyi' ')' -delete \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && find . -name '*.cpython-*.so' -exec strip --strip-unneeded {} +
# Bytecode of what is imported, and of nothing else: without any of it a start takes seconds longer.
RUN /opt/venv/bin/python3 -c 'import alembic.command, fastapi, httpx, onnxruntime, PIL.Image, psycopg, pydantic_settings, \
        python_multipart.multipart, rich.progress, typer, uvicorn, uvloop'

FROM ${PYTHON_IMAGE} AS base
LABEL org.opencontainers.image.title="Inkling" \
      org.opencontainers.image.description="Reads handwritten digits over HTTP, and says so when it is not sure" \
      org.opencontainers.image.version="0.1.0"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/inkling --shell /usr/sbin/nologin inkling \
    && install -d -o inkling -g inkling /var/lib/inkling
COPY --from=core /usr/bin/tini /usr/bin/tini
COPY --from=core /usr/share/doc/tini/copyright /usr/share/doc/tini/copyright
WORKDIR /opt/inkling
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    INKLING_HOME=/var/lib/inkling INKLING_DATA=/var/lib/inkling/data INKLING_HOST=0.0.0.0
# By number, so that Kubernetes sees that it is not root.
USER 10001:10001
VOLUME /var/lib/inkling
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-ISc", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"INKLING_PORT\", 8000)}/health/ready', timeout=4)"]
STOPSIGNAL SIGTERM
# tini reaps what the death of its parent leaves behind; -s, for where it is not the first process.
ENTRYPOINT ["tini", "-s", "--", "inkling"]
CMD ["serve"]

FROM core AS serve-build
COPY inkling.py ./
COPY models models
COPY training training
COPY app app
RUN python3 -m compileall -q .

FROM base AS serve
COPY --from=serve-build /opt/venv /opt/venv
COPY --from=serve-build /opt/inkling /opt/inkling
ENV INKLING_RUN_JOBS=false

FROM core AS build
# PyTorch's index has other releases of the dependencies than PyPI: the next step installs them.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH_VERSION=2.15.0
ARG TORCHVISION_VERSION=0.29.2
RUN python3 -m pip --python /opt/venv/bin/python3 install --no-compile --no-deps \
        ${TORCH_INDEX:+--index-url ${TORCH_INDEX}} torch==${TORCH_VERSION} torchvision==${TORCHVISION_VERSION}
RUN python3 -m pip --python /opt/venv/bin/python3 install --no-compile --editable '.[train,postgresql]'
# As above, and CUDA's parts for several GPUs. Only torch.compile, which nothing here calls, needs Triton.
RUN python3 -m pip --python /opt/venv/bin/python3 uninstall --yes triton \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf torch/include torch/share torch/test torch/bin/protoc* torch/bin/test_* torch/lib/libshm_windows \
        nvidia/*/include nvidia/*/lib/libcusolverMg.so* \
    && find . -type f '(' -name '*.a' -o -name '*.bc' -o -name '*.pyi' ')' -delete \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && find . '(' -path './torch/lib/*.so' -o -name '*.cpython-*.so' ')' -exec strip --strip-unneeded {} +
RUN /opt/venv/bin/python3 -c 'import HersheyFonts, onnx, torch._dynamo, torchvision.datasets'
COPY inkling.py ./
COPY models models
COPY training training
COPY app app
RUN python3 -m compileall -q .

FROM base
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/inkling /opt/inkling
