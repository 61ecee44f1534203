# The image of authz: a virtual environment on a slim Python, run by nobody in particular.
# tests/stack/test_image.py runs these steps, without a container engine.
FROM python:3.13.16-slim-trixie AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY envoy envoy
COPY authz authz
RUN python -m venv /opt/authz
RUN /opt/authz/bin/python -m pip install --no-cache-dir .

FROM python:3.13.16-slim-trixie
COPY --from=build /opt/authz /opt/authz
# A new volume takes over the owner of the directory it is mounted on, so no container has to be root.
RUN install -d -o 65532 -g 65532 -m 0700 /run/authz /var/lib/authz
ENV PATH=/opt/authz/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["authz"]
CMD ["serve"]
