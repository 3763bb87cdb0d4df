# A hospital. From the project's root: docker build -f deploy/site.Dockerfile .
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 heartfed && install -d -o heartfed /var/lib/heartfed
WORKDIR /opt/heartfed
COPY . .
RUN pip install --no-cache-dir -c constraints.txt .
USER heartfed
WORKDIR /var/lib/heartfed
VOLUME /var/lib/heartfed
ENV MPLCONFIGDIR=/var/lib/heartfed/matplotlib
ENV SITE=""
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s \
    CMD python -m clients.deploy health --site "$SITE" --home /var/lib/heartfed/site
ENTRYPOINT ["python", "-m", "clients.deploy"]
