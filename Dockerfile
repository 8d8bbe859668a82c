# syntax is plain Dockerfile, so that docker and podman build the same image.
ARG BASE_IMAGE=docker.io/airbyte/python-connector-base:4.1.0@sha256:1d1aa21d34e851df4e8a87b391c27724c06e2597608e7161f4d167be853bd7b6

FROM ${BASE_IMAGE} AS builder
USER root
# Set to 0 only to measure what compiling at build time is worth (benchmarks/image).
ARG COMPILE=1
WORKDIR /build
RUN python -m venv --without-pip /opt/connector
COPY requirements.lock ./
RUN python -m pip --python /opt/connector/bin/python install \
      --no-cache-dir --no-compile --require-hashes --requirement requirements.lock
# A third of the image, required by the CDK for its SQL and file sources and imported by nothing that this connector does.
RUN python -m pip --python /opt/connector/bin/python uninstall --yes --quiet numpy pandas
COPY setup.py pyproject.toml README.md LICENSE ./
COPY source_ravan_calcom source_ravan_calcom
RUN python -m pip --python /opt/connector/bin/python install \
      --no-cache-dir --no-compile --no-deps --no-build-isolation .
# A user that can't write would compile the whole CDK anew at every start. The hashes are not checked again: the
# files of an image do not change.
RUN if [ "$COMPILE" = 1 ]; then \
      python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/connector/lib; \
    fi

FROM ${BASE_IMAGE} AS sbom
USER root
WORKDIR /build
COPY requirements/sbom.txt ./
RUN python -m venv --without-pip tool \
    && python -m pip --python tool/bin/python install --no-cache-dir --no-compile --require-hashes --requirement sbom.txt
COPY --from=builder /opt/connector /opt/connector
RUN tool/bin/cyclonedx-py environment --output-reproducible --output-file sbom.cdx.json /opt/connector/bin/python

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
COPY --from=builder /opt/connector /opt/connector
COPY --from=sbom /build/sbom.cdx.json /opt/connector/
# The CDK wants a temporary directory; this one is there under --read-only, too. PIP_PYTHON is for the base's pip:
# `pip freeze` lists the connector's packages, as Airbyte's registry wants it, and `pip install` adds to them.
ENV TMPDIR=/dev/shm \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_PYTHON=/opt/connector/bin/python \
    PATH=/opt/connector/bin:$PATH \
    AIRBYTE_ENTRYPOINT=/opt/connector/bin/source-ravan-calcom
USER airbyte
WORKDIR /airbyte
ENTRYPOINT ["/opt/connector/bin/source-ravan-calcom"]
LABEL io.airbyte.version=0.2.0 \
      io.airbyte.name=airbyte/source-ravan-calcom \
      org.opencontainers.image.version=0.2.0 \
      org.opencontainers.image.title=source-ravan-calcom \
      org.opencontainers.image.description="Airbyte source for the Cal.com appointments that Ravan.ai voice agents book." \
      org.opencontainers.image.documentation=https://docs.airbyte.com/integrations/sources/ravan-calcom \
      org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.base.name=${BASE_IMAGE}
