# Without BuildKit syntax, so that docker and podman build the same image.
ARG BASE_IMAGE=docker.io/airbyte/python-connector-base:4.1.0@sha256:1d1aa21d34e851df4e8a87b391c27724c06e2597608e7161f4d167be853bd7b6

FROM ${BASE_IMAGE} AS builder
USER root
# Without bytecode, a user without write access would compile the whole CDK at every start. Hashes need no check at
# start, because the files of an image do not change. `true` skips the compilation (benchmarks/image measures its effect).
ARG COMPILE="python -m compileall -q -j 0 --invalidation-mode unchecked-hash"
WORKDIR /build
RUN python -m venv --without-pip /opt/connector \
    && python -m venv --without-pip tools
COPY requirements.lock requirements/sbom.txt ./
RUN python -m pip --python tools/bin/python install --no-cache-dir --no-compile --require-hashes --requirement sbom.txt
# numpy and pandas would be a third of the image. The CDK requires them for SQL and spreadsheets, and this connector never
# imports them.
RUN python -m pip --python /opt/connector/bin/python install \
      --no-cache-dir --no-compile --require-hashes --requirement requirements.lock \
    && python -m pip --python /opt/connector/bin/python uninstall --yes --quiet numpy pandas \
    && $COMPILE /opt/connector/lib
COPY setup.py pyproject.toml README.md LICENSE ./
COPY source_ravan_calcom source_ravan_calcom
RUN python -m pip --python /opt/connector/bin/python install \
      --no-cache-dir --no-compile --no-deps --no-build-isolation . \
    && $COMPILE /opt/connector/lib/python3*/site-packages/source_ravan_calcom \
    && tools/bin/cyclonedx-py environment --output-reproducible --output-file /opt/connector/sbom.cdx.json \
      /opt/connector/bin/python

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
COPY --from=builder /opt/connector /opt/connector
# The CDK needs a temporary directory; this one is writable even with --read-only. PIP_PYTHON is for the base's pip, so
# that `pip freeze` lists the connector's packages, as Airbyte's registry requires, and `pip install` adds to them.
ENV TMPDIR=/dev/shm \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_PYTHON=/opt/connector/bin/python \
    PATH=/opt/connector/bin:$PATH \
    AIRBYTE_ENTRYPOINT=/opt/connector/bin/source-ravan-calcom
USER airbyte
WORKDIR /airbyte
ENTRYPOINT ["/opt/connector/bin/source-ravan-calcom"]
LABEL io.airbyte.version=0.3.0 \
      io.airbyte.name=airbyte/source-ravan-calcom \
      org.opencontainers.image.version=0.3.0 \
      org.opencontainers.image.title=source-ravan-calcom \
      org.opencontainers.image.description="Airbyte source for the Cal.com appointments that Ravan.ai voice agents book." \
      org.opencontainers.image.documentation=https://docs.airbyte.com/integrations/sources/ravan-calcom \
      org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.base.name=${BASE_IMAGE}
