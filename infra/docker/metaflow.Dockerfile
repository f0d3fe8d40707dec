# syntax=docker/dockerfile:1
# Metaflow's metadata service, without privileges and without Metaflow's UI. Netflix's own image runs as
# root, and knows no secret that is a file.
#   docker build -f infra/docker/metaflow.Dockerfile -t fraud-metaflow:2.5.1 .
FROM golang:1.24-bookworm AS goose
RUN CGO_ENABLED=0 go install github.com/pressly/goose/v3/cmd/goose@v3.24.3

FROM python:3.11-slim-bookworm
ADD https://github.com/Netflix/metaflow-service/archive/refs/tags/v2.5.1.tar.gz /tmp/service.tar.gz
COPY requirements.txt infra/constraints.txt /pins/
RUN mkdir /opt/metaflow-service \
 && tar -xzf /tmp/service.tar.gz --strip-components=1 -C /opt/metaflow-service \
 && rm /tmp/service.tar.gz \
 && pip install --no-cache-dir -c /pins/requirements.txt -c /pins/constraints.txt \
      aiohttp 'aiopg==1.4.0' boto3 packaging psycopg2-binary \
 && useradd --uid 10001 --no-create-home metaflow
COPY --from=goose /go/bin/goose /usr/local/bin/
COPY --chmod=755 infra/docker/entrypoint.sh /usr/local/bin/with-secrets
COPY --chmod=755 infra/docker/metaflow.sh /usr/local/bin/metaflow-service
USER 10001
WORKDIR /opt/metaflow-service
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["with-secrets"]
CMD ["metaflow-service"]
