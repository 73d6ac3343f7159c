# docker build -t voicestatus .
# docker run --env-file .env -p 8080:8080 -v voicestatus:/data voicestatus

FROM python:3.13-slim AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/voicestatus
WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY twisted twisted
COPY voicestatus voicestatus
RUN /opt/voicestatus/bin/pip install .
# Twisted's list of its plugins: nobody may write it later, and without it each start
# reads all of them. A layer keeps whole seconds, and a list as old as a plugin is
# made again: hence the minute. -I: without the plugins of this folder.
RUN /opt/voicestatus/bin/python -I -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))" \
    && find /opt/voicestatus -name dropin.cache -exec touch --date='+1 minute' {} +
RUN /opt/voicestatus/bin/pip uninstall --yes pip


FROM python:3.13-slim
RUN groupadd --gid 10001 voicestatus \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data voicestatus \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=builder /opt/voicestatus /opt/voicestatus
ENV PATH=/opt/voicestatus/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PORT=8080 \
    STORAGE_URL=sqlite:/data/voicestatus.db
# By number: Kubernetes' runAsNonRoot reads no names.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# Not /health: a restart does not bring Discord back, and the signs would be dropped.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os; from http.client import HTTPConnection; link = HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); link.request('GET', '/livez'); raise SystemExit(link.getresponse().status != 200)"]
CMD ["twistd", "--nodaemon", "--pidfile=", "voicestatus"]
