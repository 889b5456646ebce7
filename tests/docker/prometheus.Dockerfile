# Debian's Prometheus in a container of our own, laid out as prom/prometheus is.
ARG BASE
FROM $BASE
COPY root/usr/bin/prometheus /bin/prometheus
RUN mkdir /prometheus && chown 65534:65534 /prometheus
USER 65534
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
