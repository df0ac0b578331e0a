# The image of every Fenliu process. The same steps as deploy/venv.py: the lock with its hashes, then the project.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /venv
COPY requirements-image.lock ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-image.lock
COPY pyproject.toml README.md fenliu.py ./
COPY schemas schemas
COPY producers producers
COPY worker worker
COPY training training
COPY dashboard dashboard
COPY migrations migrations
COPY models models
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 fenliu && install --directory --owner fenliu /home/fenliu/.fenliu
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 FENLIU_HOME=/home/fenliu/.fenliu
USER fenliu
WORKDIR /home/fenliu
CMD ["fenliu", "worker"]
