# docker build -t aspire .                             for the CPU
# docker build -t aspire --build-arg TORCH=cuda .      for NVIDIA GPUs: docker run --gpus all ...
# docker run --rm -v "$PWD:/work" aspire quickstart    results in ./outputs
FROM python:3.11-slim

# cpu | cuda
ARG TORCH=cpu
# of pyproject.toml, with commas: --build-arg EXTRAS=onnx,parquet
ARG EXTRAS=""

WORKDIR /opt/aspire
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY conf conf
COPY aspire aspire
# The wheels on PyPI are those for CUDA, and bring its libraries along. The versions are those of
# constraints.txt, which the linter does not see.
# hadolint ignore=DL3013
RUN case "$TORCH" in \
      cpu) pip install --no-cache-dir --no-deps -c constraints.txt torch torchvision \
             --index-url https://download.pytorch.org/whl/cpu ;; \
      cuda) ;; \
      *) echo "TORCH=$TORCH: expected cpu or cuda" >&2; exit 2 ;; \
    esac \
    && pip install --no-cache-dir -c constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
    && useradd --create-home --uid 1000 aspire && install -d -o aspire /work

USER 1000
WORKDIR /work
ENTRYPOINT ["aspire"]
CMD ["--help"]
