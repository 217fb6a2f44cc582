# All that requirements.txt pins, and the command naclip-bench.
#
#     docker build -t naclip_bench .                                  # CPU
#     docker build -t naclip_bench:cuda --build-arg DEVICE=cuda .     # NVIDIA, with its container toolkit on the host
#     docker run --rm -p 7860:7860 naclip_bench demo --host 0.0.0.0
FROM python:3.11-slim-bookworm
ARG DEVICE=cpu

# OpenCV's libraries, and the font of the pictures.
RUN apt-get update \
    && apt-get install -y --no-install-recommends fonts-dejavu-core libgl1 libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/naclip_bench
COPY requirements.txt ./
# PyPI's torch brings CUDA along, several GB; PyTorch's own index has it without.
RUN case "$DEVICE" in \
        cpu) index='--index-url https://download.pytorch.org/whl/cpu' ;; \
        cuda) index='' ;; \
        *) echo "DEVICE is $DEVICE; it must be cpu or cuda" >&2; exit 1 ;; \
    esac \
    && pip install --no-cache-dir $index $(grep -E '^torch(vision)?==' requirements.txt) \
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
