# The coordinator. From the project's root: docker build -f deploy/coordinator.Dockerfile .
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 heartfed && install -d -o heartfed /var/lib/heartfed
WORKDIR /opt/heartfed
COPY . .
RUN pip install --no-cache-dir -c constraints.txt .
USER heartfed
WORKDIR /var/lib/heartfed
VOLUME /var/lib/heartfed
ENV MPLCONFIGDIR=/var/lib/heartfed/matplotlib
ENV HEARTFED_CACHE=/var/lib/heartfed/cache
EXPOSE 8443
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-m", "server.deploy", "health", "federation"]
ENTRYPOINT ["python", "-m", "server.deploy"]
CMD ["serve", "federation"]
