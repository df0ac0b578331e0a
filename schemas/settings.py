"""The settings of every process, read from `FENLIU_*` environment variables.

Only values and their checks. Where the embedded servers live when no URL is set is `worker.servers`' matter.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import SetupError
from schemas.names import Keys

_MASK = "****"


class Settings(BaseSettings):
    """Every setting, its default and its meaning. Frozen: a process reads them once."""

    model_config = SettingsConfigDict(
        env_prefix="FENLIU_", frozen=True, extra="ignore", env_file=None, allow_inf_nan=False
    )

    home: Path = Field(Path(".fenliu"), description="Folder of the embedded servers, imported models and logs.")
    redis_url: str = Field("", description="Redis URL (redis://, rediss:// or unix://). Empty: embedded server.")
    database_url: str = Field("", description="PostgreSQL URL (postgresql://). Empty: embedded server.")
    broker_url: str = Field("", description="Celery's broker. Empty: the same Redis.")
    prefix: str = Field("fenliu", description="Prefix of every Redis key.", pattern=r"^[A-Za-z0-9_.:-]{1,64}$")

    slots: int = Field(0, ge=0, le=256, description="Batches a worker runs at once. 0: the CPU quota.")
    batch_entries: int = Field(256, ge=1, le=10_000, description="Most entries a slot takes from an inbox at once.")
    batch_chars: int = Field(
        32_768, ge=1, description="Most characters in one transaction's worth of entries; one entry is always taken."
    )
    run_tokens: int = Field(512, ge=16, description="Padded tokens in one run of the model.")
    bulk_share: float = Field(0.1, ge=0, le=1, description="Least share of the entries that bulk gets when it waits.")
    inbox_bound: int = Field(100_000, ge=1, description="Entries in an inbox above which producers are refused.")

    bulk_batch_ms: float = Field(50.0, gt=0, description="Time in the model after which bulk lets live go first.")

    claim_idle_s: float = Field(15.0, gt=0, description="Idle time after which a dead worker's entry is claimed.")
    poison_after: int = Field(3, ge=1, description="Deliveries after which an entry runs alone.")
    batch_timeout_s: float = Field(60.0, gt=0, description="Time in the model without progress that ends the process.")
    idle_poll_s: float = Field(1.0, gt=0, le=10, description="Longest wait in one read of an empty inbox.")
    retry_max_s: float = Field(2.0, gt=0, description="Longest pause between tries while Redis or Postgres is away.")
    heartbeat_s: float = Field(2.0, gt=0, description="Time between two heartbeats of a worker.")
    drain_timeout_s: float = Field(25.0, gt=0, description="Time a stopping worker gives its running batches.")

    model: str = Field("fenliu-e5", description="Model in production: name or name/version.")
    memory_texts: int = Field(
        10_000, ge=0, description="Texts whose results a worker remembers, in case they come again. 0: none."
    )
    memory_bytes: int = Field(16_777_216, ge=0, description="Most memory that these results may take.")
    provider: Literal["cpu", "openvino"] = Field(
        "cpu", description="Execution provider of ONNX Runtime. openvino needs the package onnxruntime-openvino."
    )
    routes_poll_s: float = Field(2.0, gt=0, le=5, description="Time between looks for a new route set version.")
    triage_threshold: float = Field(0.5, ge=0, le=1, description="Score below which a ticket goes to triage.")
    triage_margin: float = Field(0.0, ge=0, le=1, description="Lead over the next team below which it goes to triage.")

    reply_max_entries: int = Field(10_000, ge=1, description="Entries kept in a reply stream.")
    reply_expire_s: int = Field(600, ge=1, description="Life of a reply stream after its last reply.")

    http_host: str = Field("127.0.0.1", description="Address that `fenliu serve` listens on.")
    http_port: int = Field(8000, ge=0, le=65_535, description="Its port. 0: any free one.")
    http_timeout_s: float = Field(30.0, gt=0, le=600, description="Longest wait for a result of a request.")
    http_body_bytes: int = Field(4_194_304, ge=1_024, description="Largest body of a request.")
    http_texts: int = Field(256, ge=1, le=10_000, description="Most texts or items in a request.")
    http_rate_per_minute: int = Field(0, ge=0, description="Requests a minute of a key or address. 0: no limit.")

    session_hours: float = Field(12.0, gt=0, le=8_760, description="Idle time after which a person must log in again.")
    login_attempts: int = Field(10, ge=1, description="Failed logins of a name or address in 15 min before a pause.")

    review_claim_s: float = Field(600.0, gt=0, description="Time a reviewer keeps an item to himself.")
    review_random_share: float = Field(0.1, ge=0, le=1, description="Share of random items in the review queue.")
    review_days: int = Field(30, ge=1, description="Age up to which results are shown for review.")

    quality_drift_bound: float = Field(0.25, gt=0, description="Population stability index above which drift alerts.")
    quality_accuracy_bound: float = Field(0.05, gt=0, le=1, description="Loss of accuracy that alerts.")
    quality_items: int = Field(200, ge=20, description="Fewest items from which drift is measured.")

    metrics_host: str = Field("127.0.0.1", description="Address on which a worker shows its metrics.")
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Port on which a worker shows its metrics. 0: not at all."
    )

    relay_poll_s: float = Field(0.5, gt=0, le=60, description="Time between looks for something to deliver.")
    team_max_entries: int = Field(100_000, ge=1, description="Entries kept in a team's stream.")
    webhook_timeout_s: float = Field(10.0, gt=0, le=120, description="Longest time of one call of a webhook.")
    webhook_attempts: int = Field(16, ge=1, description="Calls of a webhook before a delivery has failed.")
    webhook_backoff_s: float = Field(2.0, gt=0, description="Pause before the second call; doubles each time.")
    webhook_backoff_max_s: float = Field(3_600.0, gt=0, description="Longest pause between two calls.")
    webhook_allow_private: bool = Field(False, description="Whether webhooks may call private addresses.")

    tick_s: float = Field(10.0, gt=0, le=60, description="Time between looks for a schedule that is due.")
    retention_days: int = Field(0, ge=0, description="Age at which items are pruned every night. 0: never.")
    delivered_days: int = Field(7, ge=0, description="Age at which delivered announcements are pruned.")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: colours on a terminal, JSON elsewhere."
    )

    @field_validator("redis_url", "broker_url")
    @classmethod
    def _redis_scheme(cls, url: str) -> str:
        if url and _scheme_of(url) not in {"redis", "rediss", "unix"}:
            raise ValueError("must start with redis://, rediss:// or unix://")
        return url

    @field_validator("database_url")
    @classmethod
    def _database_scheme(cls, url: str) -> str:
        if url and _scheme_of(url) not in {"postgresql", "postgresql+psycopg2"}:
            raise ValueError("must start with postgresql://")
        return url

    @property
    def keys(self) -> Keys:
        """Redis keys under this prefix."""
        return Keys(self.prefix)

    @property
    def embedded_redis(self) -> bool:
        """Whether Fenliu runs its own Redis."""
        return not self.redis_url

    @property
    def embedded_database(self) -> bool:
        """Whether Fenliu runs its own PostgreSQL."""
        return not self.database_url

    @property
    def sqlalchemy_url(self) -> str:
        """`database_url` with psycopg2 named, since SQLAlchemy 2.1 would take psycopg 3."""
        return self.database_url.replace("postgresql://", "postgresql+psycopg2://", 1)

    @property
    def celery_broker_url(self) -> str:
        """The broker as kombu spells it: `unix://` becomes `redis+socket://`."""
        url = self.broker_url or self.redis_url
        if not url.startswith("unix://"):
            return url
        return url.replace("unix://", "redis+socket://", 1).replace("db=", "virtual_host=")

    @property
    def slots_at_once(self) -> int:
        """Batches that a worker runs at once: as set, else one for each CPU it may use."""
        return self.slots or cpu_quota()

    @property
    def models_home(self) -> Path:
        """Where imported and trained models are kept."""
        return self.home / "models"

    def masked(self) -> dict[str, str]:
        """Every setting as text, passwords in URLs masked; safe to print and log."""
        return {
            name: mask_url(str(value)) if name.endswith("_url") else str(value)
            for name, value in self.model_dump().items()
        }

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.masked().items())})"

    __str__ = __repr__


def _scheme_of(url: str) -> str:
    """What a URL begins with. Raises ValueError that does not quote it, since it may hold a password."""
    try:
        url.encode()
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is no URL; look at its host and port, and write odd characters as %40") from None
    return parts.scheme


def mask_url(url: str) -> str:
    """`url` with its password replaced, also one that should have been percent-encoded; those in its query too."""
    masked = re.sub(r"(://[^/@:]*):.*@", rf"\1:{_MASK}@", url, count=1, flags=re.DOTALL)
    return re.sub(r"([?&]\w*password=)[^&]*", rf"\1{_MASK}", masked, flags=re.IGNORECASE)


def load_settings() -> Settings:
    """Settings from the environment.

    Raises SetupError with one line per wrong variable: its name, what is wrong, and never its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"FENLIU_{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SetupError("\n".join(lines)) from None


def cpu_quota() -> int:
    """Whole CPUs this process may use: the container's quota if it is less than the affinity mask."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cpus = min(cpus, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: the mask is all there is
    return max(1, cpus)
