# The image: `docker build -t artifact-downloader .` The one with the extras, for signatures and bills of materials, is
# `docker build --target full -t artifact-downloader:full .` Both work with BuildKit and without.
# BASE may be any image with Python 3.11 or later, and with an `env` that can hold back signals (coreutils 8.31 or later);
# give it with its digest where builds must be repeatable.
ARG BASE=python:3.13-slim-bookworm

# What we depend on: hashed wheels in an environment without pip, slimmed and compiled. It changes only with the lock,
# so that nodes which have pulled one version of the image have most of the next one.
FROM ${BASE} AS dependencies
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/venv
COPY requirements/run.txt /build/
RUN /opt/build/bin/python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --only-binary :all: \
    --require-hashes --requirement /build/run.txt
COPY docker/slim.py /build/
RUN /opt/venv/bin/python -B /build/slim.py \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib

# The extras: pip leaves alone what is there. What `slim.py` has removed it installs again, to be removed once more.
FROM dependencies AS extras
COPY requirements/full.txt /build/
RUN /opt/build/bin/python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --only-binary :all: \
    --require-hashes --prefix /opt/extras --requirement /build/full.txt --constraint /build/full.txt \
 && /opt/venv/bin/python -B /build/slim.py /opt/extras \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /opt/extras -p /opt/venv \
    /opt/extras/lib

# The project itself, built without an index, as an overlay of the environment.
FROM dependencies AS project
COPY requirements/build.txt /build/
RUN /opt/build/bin/python -m pip install --no-cache-dir --only-binary :all: --require-hashes \
    --requirement /build/build.txt
COPY pyproject.toml LICENSE /build/project/
COPY docs/pypi.md /build/project/docs/
COPY downloader /build/project/downloader
RUN /opt/build/bin/python -m pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /build/wheels \
    /build/project \
 && /opt/build/bin/python -m pip --python /opt/venv/bin/python install --no-index --no-deps --no-compile \
    --prefix /opt/overlay /build/wheels/*.whl \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /opt/overlay -p /opt/venv \
    /opt/overlay/lib

FROM ${BASE} AS finished
# HOME lies in /tmp because nothing else is sure to be writable: the root file system may be read-only, and the user may
# be any number without an entry in /etc/passwd.
ENV PATH=/opt/venv/bin:$PATH \
    LANG=C.UTF-8 \
    HOME=/tmp \
    HF_HOME=/tmp/.hf \
    TMPDIR=/tmp
# No installer stays. The folder for the volume belongs to the user: a named volume takes its owner from there.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
    /usr/lib/python3*/ensurepip /usr/share/python-wheels \
 && ! python3 -c 'import pip' 2>/dev/null \
 && groupadd --gid 1000 downloader \
 && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin downloader \
 && install -d -o 1000 -g 0 -m 0775 /cache \
 && mkdir -p /storage-initializer/scripts \
 && for name in check-size.sh adapter-stage.sh adapter-reap.sh adapter-subtree-sync.sh \
        storage-initializer/scripts/initializer-entrypoint; do ln -s /entrypoint.sh /$name; done
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=project /opt/overlay /opt/venv
COPY entrypoint.sh /entrypoint.sh
COPY docker/check.py /opt/check.py
# The check leaves the bytecode of exactly that part of the standard library which we use: the official base has none.
RUN python /opt/check.py
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 1000:1000
ENTRYPOINT ["/entrypoint.sh"]

ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="artifact-downloader" \
      org.opencontainers.image.description="Brings an AI model artifact onto a volume: verified, resumable, visible in the AIMArtifact status." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

# The image with the extras: the layers of the other, and two more.
FROM finished AS full
USER root
COPY --from=extras /opt/extras /opt/venv
RUN PYTHONDONTWRITEBYTECODE= python /opt/check.py --extras
USER 1000:1000

# The image that is built without `--target`.
FROM finished AS plain
