"""The settings that all kinds of models share. Their names in the environment have the prefix `MAKUNOUCHI_`.

Each kind adds its own in a subclass, and `serving.kinds.registry` combines them. `service.py` loads them once.
`python -m serving.settings` prints the effective values, `--markdown` the page docs/settings.md.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Annotated, Literal, get_origin

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.store.sources.source import SourceOptions

PREFIX = "MAKUNOUCHI_"
_URL = re.compile(r"[a-z][a-z0-9_+]*://")
_SECRET = re.compile(r"[!-~]{32,512}")
_REDIS = ("redis://", "rediss://", "unix://")


def _check_placement(value: str) -> str:
    if value not in ("process", "inline") and not value.startswith(("http://", "https://")):
        raise ValueError(f"expected `process`, `inline` or an http:// address, not '{value}'")
    return value


# The placement of a runner: "process", "inline", or the http:// address of a runner on another host.
Placement = Annotated[str, AfterValidator(_check_placement)]


class Settings(BaseSettings):
    """The settings of one service, without those of single kinds of models. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        # `_list` decodes, because the package stops at the first fault.
        enable_decoding=False,
    )

    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses to start with settings that are only suitable for development."
    )

    models_file: str = Field(
        "",
        description="Path of the model list, a TOML file with a table for each model; without one the service has the "
        "models that the settings of the kinds name. See docs/models.md.",
    )

    gateways: int = Field(
        1,
        ge=1,
        le=64,
        description="Number of gateway processes. Limits per gateway process, such as connections, memory of the cache "
        "and rate limits in memory, apply to each.",
    )
    watch_store_s: float = Field(
        0.0,
        ge=0,
        description="Interval at which the model store is checked for newer versions to serve and for aliases that "
        "were moved; 0 disables the check.",
    )
    source_max_bytes: int = Field(
        20 << 30, gt=0, description="Maximum size of an artifact that is fetched from a source, such as `s3://`."
    )
    source_timeout_s: float = Field(
        30.0, gt=0, description="Time without a byte after which a source of artifacts counts as away."
    )
    source_http_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts whose artifacts may be fetched without TLS, as a JSON list. This host always may be.",
    )
    source_prefixes: tuple[str, ...] = Field(
        (),
        description="Sources from which administrators may load artifacts while the service runs, as a JSON list of "
        'their beginnings, such as `["s3://models/"]`; none when empty. Sources in settings are not restricted.',
    )
    state_folder: str = Field(
        "", description="Folder for jobs and for changes by administrators; next to the model store when empty."
    )

    max_traffic_versions: int = Field(
        3, ge=1, le=8, description="Maximum number of versions in the traffic split of a model; all are in memory."
    )

    request_timeout_s: float = Field(30.0, gt=0, description="Time limit of a request, then 504.")
    hang_timeout_s: float | None = Field(
        None,
        ge=0,
        description="Time after which a process is killed and replaced whose event loop does not run, or in which one "
        "call of a model still runs; at least 3 s, 0 disables it. When empty: `request_timeout_s`.",
    )
    start_timeout_s: float = Field(
        600.0, gt=0, description="Time that a process has to load its models and to start; then it is killed."
    )
    body_timeout_s: float = Field(
        20.0, gt=0, description="Time limit for the arrival of the headers, and then of the body, then 408."
    )
    keep_alive_s: float = Field(
        75.0,
        gt=0,
        description="Time after which an idle connection is closed. Longer than that of the proxies and load balancers "
        "in front, which are often 60 s: otherwise they send a request while the connection is being closed.",
    )
    body_min_rate: int = Field(
        8192,
        ge=0,
        description="Bytes per second with which a request body has to arrive on average after 5 s, then 408; 0 "
        "disables the limit.",
    )
    shutdown_grace_s: float = Field(
        20.0, ge=0, description="Time that requests in flight have to finish after SIGTERM."
    )
    max_body_bytes: int = Field(
        16 << 20, gt=0, description="Maximum size of a request body, then 413, and of a message of a WebSocket."
    )

    max_websockets: int = Field(
        1000,
        gt=0,
        description="Maximum number of open WebSockets per gateway process, then 503. One caller may open half of what "
        "the others leave, then 429.",
    )
    websocket_idle_s: float = Field(
        300.0, ge=0, description="Idle time after which a WebSocket is closed with code 4408; 0 disables the limit."
    )

    job_workers: int = Field(
        1,
        ge=0,
        le=16,
        description="Jobs that a gateway processes at the same time; 0 leaves jobs to other gateways of the host.",
    )
    job_max_bytes: int = Field(256 << 20, gt=0, description="Maximum size of the body of a job, then 413.")
    job_max_unpacked_bytes: int = Field(
        1 << 30, gt=0, description="Maximum total size of the unpacked items of a job, then 413."
    )
    job_max_items: int = Field(1_000_000, gt=0, description="Maximum number of items of one job.")
    job_max_per_caller: int = Field(
        100, gt=0, description="Maximum number of stored jobs per key or address, finished or not, then 429."
    )
    job_max_disk_bytes: int = Field(
        8 << 30,
        gt=0,
        description="Disk space for all jobs and their results, then 503. One caller may use half of what the others "
        "leave, then 429.",
    )
    job_ttl_s: float = Field(86_400.0, gt=0, description="Retention time of the result of a finished job.")
    job_transfer_timeout_s: float = Field(
        600.0, gt=0, description="Time limit for the upload of a job, and for the download of its result."
    )
    job_lease_s: float = Field(
        10.0,
        ge=1,
        description="Time without a sign of life from its gateway after which a job is taken over by another.",
    )
    job_folders: tuple[str, ...] = Field(
        (), description="Folders of this host from which jobs may read images, as a JSON list; disabled when empty."
    )

    runner_replicas: int = Field(
        1,
        ge=1,
        le=64,
        description="Number of processes of each runner, without a model list. An entry of the list has `replicas`.",
    )
    max_queue_rows: int = Field(
        4096, gt=0, description="Maximum number of rows in the queue of one model and priority, then 503 without delay."
    )
    max_batch_rows: int = Field(
        256, gt=0, description="Maximum number of rows in one call to a runner. A request of more is split."
    )
    max_batch_bytes: int = Field(
        32 << 20, gt=0, description="Maximum number of bytes in one call to a runner. A request of more is split."
    )

    runner_max_memory_bytes: int = Field(
        0,
        ge=0,
        description="Memory of one runner process, without memory-mapped weights, above which it is replaced. While a "
        "version is loaded it is not checked, and then it must have room for two versions; 0 sets no bound.",
    )
    runner_threads: int = Field(
        0,
        ge=0,
        description="Threads of each numerical library in a runner process (OpenMP, BLAS, OpenVINO); 0 leaves the "
        "number to the library.",
    )
    runner_cpus: tuple[int, ...] = Field(
        (), description="Processors on which runner processes run, as a JSON list of numbers; all when empty."
    )

    api_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys, each as `name:role[+batch]:sha256[:expires]`, separated by commas or lines. `python -m "
        "serving.keys new` creates one. Without keys and tokens, development is open and production does not start.",
    )
    api_keys_file: str = Field(
        "", description="File with further API keys, one per line; it is reloaded when it changes."
    )
    jwt_issuer: str = Field("", description="Required `iss` of a token. Tokens require issuer, audience and keys.")
    jwt_audience: str = Field("", description="Required `aud` of a token.")
    jwt_jwks: str = Field("", description="Public keys of the issuer (JWKS): a file, or an https:// address.")
    jwt_jwks_keep_s: float = Field(
        300.0, gt=0, description="Time after which the public keys of the issuer are fetched again."
    )
    jwt_roles_claim: str = Field(
        "roles", description="Claim of a token that contains its roles; dots name nested claims: `realm_access.roles`."
    )
    runner_token: SecretStr = Field(
        SecretStr(""),
        description="Secret of at least 32 characters that gateways send to runners at a URL, and that a runner served "
        "by itself requires. The same on both hosts. Production requires it for such runners.",
    )
    anonymous_role: Literal["none", "read", "predict"] = Field(
        "none", description="Role of callers without credentials where keys or tokens are configured."
    )
    probes_access: Literal["open", "read"] = Field(
        "open", description="Access to `/livez`, `/readyz`, `/health` and `/metrics`: all callers, or the role `read`."
    )
    docs_access: Literal["open", "read"] = Field(
        "open", description="Access to the documentation pages, the OpenAPI document, `/v1` and `/problems`."
    )

    rate_limit: int | None = Field(
        None,
        ge=0,
        description="Requests per period for each key or address and each class of routes; 0 disables the limit. "
        "When empty: 100 in production, no limit in development.",
    )
    rate_limit_predict: int | None = Field(
        None, ge=0, description="Rate limit of predictions; `rate_limit` when empty."
    )
    rate_limit_read: int | None = Field(
        None, ge=0, description="Rate limit of read operations; `rate_limit` when empty."
    )
    rate_limit_admin: int | None = Field(
        None, ge=0, description="Rate limit of administration; `rate_limit` when empty."
    )
    rate_limit_period_s: float = Field(60.0, gt=0, description="Period of the rate limits.")
    rate_limit_store: Literal["memory", "redis"] = Field(
        "memory", description="Where requests are counted: in each gateway process, or in a shared Redis."
    )
    rate_limit_without_store: Literal["open", "closed"] = Field(
        "open", description="Without a response of that Redis: `open` answers without a limit, `closed` answers 503."
    )
    open_requests_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of a gateway's processor time for requests that need no key: pages, metrics, probes, and "
        "requests that are refused. Over it they wait, in turns by address.",
    )
    cache_bytes: int = Field(
        0,
        ge=0,
        description="Memory per gateway process for the response cache of images and tables; 0 disables the cache.",
    )
    cache_ttl_s: float = Field(300.0, gt=0, description="Lifetime of a cached response.")
    cache_store: Literal["memory", "redis"] = Field(
        "memory", description="Where responses are cached: in each gateway process, or in a shared Redis."
    )
    redis_url: SecretStr = Field(
        SecretStr(""), description="URL of the Redis for rate limits and cache, such as `redis://host:6379/0`."
    )
    redis_secret: SecretStr = Field(
        SecretStr(""),
        description="Secret of at least 32 characters, the same in all gateways, that signs what the cache stores in "
        "Redis. Without it, stored responses are only checked for their form.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Networks of trusted proxies, as a JSON list of CIDRs. Their headers `X-Forwarded-*` or "
        "`Forwarded` are used.",
    )

    cors_origins: tuple[str, ...] = Field((), description="Origins allowed by CORS, as a JSON list.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Level of the service's logs.")
    access_log: bool = Field(True, description="Whether each request is logged.")

    @field_validator("*", mode="before")
    @classmethod
    def _list(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str) and get_origin(cls.model_fields[str(info.field_name)].annotation) is tuple:
            try:
                return json.loads(value)
            except ValueError:
                raise ValueError('expected a JSON list, such as ["one", "another"]') from None
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ipaddress.ip_network(each, strict=False)
        return value

    @field_validator("runner_token", "redis_secret")
    @classmethod
    def _is_secret(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _SECRET.fullmatch(value.get_secret_value()):
            raise ValueError("expected at least 32 characters of ASCII without blanks")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not value.get_secret_value().startswith(_REDIS):
            raise ValueError("expected a URL, such as redis://host:6379/0")
        return value


def source_options(settings: Settings) -> SourceOptions:
    """Return the bounds of a fetch from a source of artifacts."""
    return SourceOptions(
        max_bytes=settings.source_max_bytes,
        http_hosts=settings.source_http_hosts,
        timeout_s=settings.source_timeout_s,
    )


def state_folder(setting: str) -> Path:
    """Return the folder of run-time state: the setting, or a folder next to the model store."""
    return Path(setting) if setting else Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "makunouchi"
