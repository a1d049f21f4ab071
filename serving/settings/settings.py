"""Every setting, one prefix: `MAKUNOUCHI_`. Read from the environment and from a file, once, in `service.py`.

`python -m serving.settings` prints the effective ones, `--markdown` the page docs/settings.md.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "MAKUNOUCHI_"
_URL = re.compile(r"[a-z][a-z0-9_+]*://")
_REDIS = ("redis://", "rediss://", "unix://")

Placement = str  # "process", "inline", or an http:// address


class Settings(BaseSettings):
    """Effective settings of one service. Frozen; built once and passed down."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses settings that are only fit for development."
    )

    image_model: str = Field("image:latest", description="Tag of the image classifier: `name`, or `name:version`.")
    tabular_model: str = Field("tabular:latest", description="Tag of the tabular model.")
    recommender_model: str = Field("recommender:latest", description="Tag of the recommender.")

    watch_store_s: float = Field(
        0.0, ge=0, description="How often the store is looked at for a newer version, to serve it; 0 is never."
    )
    state_folder: str = Field(
        "", description="Where jobs, and what administrators change, are kept; beside the model store when empty."
    )

    max_traffic_versions: int = Field(
        3, ge=1, le=8, description="Versions of one model that its traffic may name; each is in memory."
    )

    image_placement: str = Field(
        "process", description="Where the image runner runs: `process`, `inline`, or the URL of one on another host."
    )
    tabular_placement: str = Field("process", description="Where the tabular runner runs.")
    recommender_placement: str = Field("process", description="Where the recommender runner runs.")

    request_timeout_s: float = Field(30.0, gt=0, description="A request that takes longer is answered 504.")
    body_timeout_s: float = Field(
        20.0, gt=0, description="A request whose headers, or then its body, take longer to arrive is answered 408."
    )
    shutdown_grace_s: float = Field(20.0, ge=0, description="How long requests in flight may take after SIGTERM.")
    max_body_bytes: int = Field(16 << 20, gt=0, description="A larger request body is refused with 413 as it streams.")
    max_image_pixels: int = Field(50_000_000, gt=0, description="A larger image is refused with 413 before decoding.")
    max_batch_images: int = Field(32, gt=0, le=256, description="Images in one classify-batch request.")
    max_rows: int = Field(1000, gt=0, description="Rows in one tabular request.")
    max_bulk_users: int = Field(50, gt=0, description="Users in one bulk recommendation request.")

    max_websockets: int = Field(1000, gt=0, description="WebSockets open at one time in each gateway; then 503.")
    websocket_idle_s: float = Field(
        300.0, ge=0, description="A WebSocket on which nothing was said for so long is closed with 4408; 0 is never."
    )

    image_url_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that images are fetched from by URL, as a JSON list: `images.example`, `.example` for all "
        "below it, `*` for all that are public. None are fetched when empty.",
    )
    image_url_networks: tuple[str, ...] = Field(
        (), description="Networks that images are fetched from although they are not public, such as `10.1.0.0/16`."
    )
    image_url_timeout_s: float = Field(5.0, gt=0, description="How long one image may take to be fetched in all.")

    features: str = Field(
        "", description="Folder of the recommender's feature tables; that beside the artifact when empty."
    )
    features_ttl_s: float = Field(60.0, gt=0, description="How often the feature tables are looked at for changes.")
    feedback_url: str = Field(
        "", description="SQLAlchemy URL of the feedback log; a SQLite file beside the model store when empty."
    )
    feedback_window_days: float = Field(
        90.0, gt=0, description="Feedback written within so many days is answered with before it is trained on."
    )
    max_feedback_events: int = Field(1000, gt=0, description="Events in one feedback request.")
    recommendations_max_age_s: int = Field(
        0, ge=0, description="How long a client may reuse a GET of recommendations without asking again."
    )

    job_workers: int = Field(
        1, ge=0, le=16, description="Jobs that a gateway works on at one time; 0 leaves them to others of its host."
    )
    job_max_bytes: int = Field(256 << 20, gt=0, description="A larger body of a job is refused with 413.")
    job_max_unpacked_bytes: int = Field(
        1 << 30, gt=0, description="A job whose items are larger together, unpacked, is refused with 413."
    )
    job_max_items: int = Field(1_000_000, gt=0, description="Items of one job.")
    job_max_per_caller: int = Field(
        100, gt=0, description="Jobs that are kept for one key, done or not; over it another one is answered 429."
    )
    job_max_disk_bytes: int = Field(8 << 30, gt=0, description="What all jobs and their results may take of the disk.")
    job_ttl_s: float = Field(86_400.0, gt=0, description="How long the result of a job is kept after its end.")
    job_transfer_timeout_s: float = Field(
        600.0, gt=0, description="How long a job may take to be sent, and its result to be fetched."
    )
    job_lease_s: float = Field(
        10.0, ge=1, description="A job whose gateway was not heard of for so long is taken over by another."
    )
    job_folders: tuple[str, ...] = Field(
        (), description="Folders of this machine whose images jobs may name, as a JSON list; none when empty."
    )

    max_queue_rows: int = Field(
        4096, gt=0, description="Rows that may wait for one model; over it a request is answered 503 at once."
    )
    max_batch_rows: int = Field(256, gt=0, description="Rows in one call to a runner.")
    max_batch_bytes: int = Field(32 << 20, gt=0, description="Bytes in one call to a runner.")
    image_calls_in_flight: int = Field(2, gt=0, description="Calls to the image runner at one time.")
    decode_threads: int = Field(2, gt=0, description="Threads that decode images in the gateway.")

    api_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys, each as `name:role:sha256[:expires]`, apart by commas or lines. `python -m serving.keys "
        "new` makes one. Without keys and tokens development is open, and production does not start.",
    )
    api_keys_file: str = Field("", description="A file with more of them, one per line; changes are picked up.")
    jwt_issuer: str = Field("", description="The `iss` that a token has to have. Tokens take all three of these.")
    jwt_audience: str = Field("", description="The `aud` that a token has to have.")
    jwt_jwks: str = Field("", description="The issuer's public keys: a file, or an https:// address.")
    jwt_jwks_keep_s: float = Field(300.0, gt=0, description="How long the issuer's keys are kept before asking anew.")
    jwt_roles_claim: str = Field("roles", description="The claim of a token that names its roles.")
    probes_access: Literal["open", "read"] = Field(
        "open", description="Who may call `/livez`, `/readyz`, `/health` and `/metrics`: all, or keys with `read`."
    )
    docs_access: Literal["open", "read"] = Field(
        "open", description="Who may see the pages, the OpenAPI document, `/v1` and `/problems`."
    )

    rate_limit: int | None = Field(
        None,
        ge=0,
        description="Requests of one key, or one address, in a period, for each class of routes; 0 is no limit. "
        "When empty: 100 in production, no limit in development.",
    )
    rate_limit_predict: int | None = Field(None, ge=0, description="The same for predictions alone.")
    rate_limit_read: int | None = Field(None, ge=0, description="The same for what is only read.")
    rate_limit_admin: int | None = Field(None, ge=0, description="The same for administration.")
    rate_limit_period_s: float = Field(60.0, gt=0, description="The period of the rate limits.")
    rate_limit_store: Literal["memory", "redis"] = Field(
        "memory", description="Where requests are counted: in each gateway process, or in the Redis that all share."
    )
    rate_limit_without_store: Literal["open", "closed"] = Field(
        "open", description="While that Redis does not answer: `open` answers uncounted, `closed` answers 503."
    )
    cache_bytes: int = Field(
        0, ge=0, description="Memory of each gateway for answers to repeat, images' and tables'; 0 repeats none."
    )
    cache_tables: bool = Field(
        True, description="Whether tables' are kept too. Rows that never repeat are answered slower for it."
    )
    cache_ttl_s: float = Field(300.0, gt=0, description="How long an answer is repeated.")
    cache_store: Literal["memory", "redis"] = Field(
        "memory", description="Where answers are kept: in each gateway process, or in the Redis that all share."
    )
    redis_url: SecretStr = Field(
        SecretStr(""), description="The Redis of rate limits and cache: `redis://host:6379/0`."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Networks of the proxies whose X-Forwarded-For is believed, as a JSON list of CIDRs."
    )

    cors_origins: tuple[str, ...] = Field((), description="Origins allowed to call from a browser, as a JSON list.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Level of the service's logs.")
    access_log: bool = Field(True, description="One log line per request.")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ipaddress.ip_network(each, strict=False)
        return value

    @field_validator("image_placement", "tabular_placement", "recommender_placement")
    @classmethod
    def _is_placement(cls, value: Placement) -> Placement:
        if value not in ("process", "inline") and not value.startswith(("http://", "https://")):
            raise ValueError(f"`process`, `inline` or an http:// address is expected, not '{value}'")
        return value

    @field_validator("feedback_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and not _URL.match(value):
            raise ValueError("a URL is expected, such as sqlite:////srv/feedback.db or postgresql+psycopg://host/name")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not value.get_secret_value().startswith(_REDIS):
            raise ValueError("a URL is expected, such as redis://host:6379/0")
        return value

    @field_validator("image_url_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks


def state_folder(setting: str) -> Path:
    """Where what is changed at run time is kept: the setting, or a folder beside the model store."""
    return Path(setting) if setting else Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "makunouchi"
