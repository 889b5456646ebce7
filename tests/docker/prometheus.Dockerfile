# Debian's Prometheus in a container of our own, laid out as prom/prometheus is.
ARG BASE
FROM $BASE
COPY root/usr/bin/prometheus /bin/prometheus
RUN mkdir /prometheus && chown nobody:nogroup /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
