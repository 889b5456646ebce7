# The tritonserver of 24.10 in a container of our own, laid out as NVIDIA's image is.
ARG BASE
FROM $BASE
RUN useradd --uid 1000 --create-home triton-server
COPY tritonserver /opt/tritonserver
COPY packages /usr/lib/python3/dist-packages
ENV NVIDIA_TRITON_SERVER_VERSION=24.10
ENV LD_LIBRARY_PATH=/opt/tritonserver/lib PATH=/opt/tritonserver/bin:$PATH
WORKDIR /opt/tritonserver
