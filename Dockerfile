# All that requirements.txt pins, and the command naclip-bench.
#
#     docker build -t naclip_bench .
#     docker run --rm -p 7860:7860 naclip_bench demo --host 0.0.0.0
#
# It runs on CPUs, and on NVIDIA GPUs where the host has NVIDIA's container toolkit. For CPUs alone it is several GB
# smaller with --build-arg TORCH_INDEX=URL, the index of builds without CUDA that PyTorch's page of installing names.
FROM python:3.11-slim-bookworm
ARG TORCH_INDEX

# OpenCV's libraries, and the font of the pictures.
RUN apt-get update \
    && apt-get install -y --no-install-recommends fonts-dejavu-core libgl1 libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/naclip_bench
COPY requirements.txt ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url $TORCH_INDEX} $(grep -E '^torch(vision)?==' requirements.txt) \
    && grep -v '^-e' requirements.txt > /tmp/pins.txt \
    && pip install --no-cache-dir -r /tmp/pins.txt
COPY . ./
RUN pip install --no-cache-dir --no-deps -e .

# Weights and text vectors; of any user, as for --user "$(id -u):$(id -g)", which makes outputs one's own.
ENV HOME=/cache HF_HOME=/cache/huggingface NACLIP_BENCH_CACHE=/cache/naclip_bench
RUN mkdir -m 1777 /cache && useradd --no-create-home --home-dir /cache bench && mkdir -m 1777 /work
USER bench
WORKDIR /work
EXPOSE 7860
ENTRYPOINT ["naclip-bench"]
CMD ["--help"]
