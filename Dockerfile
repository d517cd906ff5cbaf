# syntax=docker/dockerfile:1
# The image of the node agent and of the controller, for amd64 and arm64. `make image` builds it.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# Compilers of the distribution, whichever release it has: nothing of them comes into the image.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev musl-tools \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# PyYAML reads kubeconfigs. The client library of the extra `kubernetes` is for those that run a program.
RUN python3 -m venv --without-pip /opt/whereabouts \
 && python3 -m pip --python /opt/whereabouts/bin/python3 install --no-cache-dir '.[controller,etcd]' 'pyyaml>=6,<7'
# The plugin is copied to hosts of any distribution, so it must need no library of theirs.
RUN readelf --program-headers /opt/whereabouts/lib/python3*/site-packages/whereabouts/native/whereabouts >/tmp/headers \
 && ! grep INTERP /tmp/headers

FROM python:${PYTHON}-slim
RUN python3 -m pip uninstall --yes --root-user-action=ignore pip
COPY --from=build /opt/whereabouts /opt/whereabouts
ENV PATH=/opt/whereabouts/bin:$PATH PYTHONDONTWRITEBYTECODE=1
RUN whereabouts version
# The DaemonSet says that it is root: the agent's socket, and what it installs, are root's.
USER 65532:65532
ENTRYPOINT ["whereabouts"]
