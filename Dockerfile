# The service with every provider's SDK and the PostgreSQL driver. Build: docker build -t pointsman .
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/pointsman
COPY pyproject.toml README.md LICENSE ./
COPY learning learning
COPY adapters adapters
COPY migrations migrations
COPY router router
RUN /opt/pointsman/bin/pip install --no-cache-dir ".[providers,postgres]"

FROM python:3.12-slim
COPY --from=build /opt/pointsman /opt/pointsman
RUN useradd --system --create-home --home-dir /data pointsman
ENV PATH=/opt/pointsman/bin:$PATH POINTSMAN_HOST=0.0.0.0 POINTSMAN_PORT=8080
USER pointsman
WORKDIR /data
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=20s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=3)"]
# Beyond loopback the service wants API keys: docker run ... pointsman keys create NAME --scope route --scope chat --scope feedback
CMD ["pointsman", "serve"]
