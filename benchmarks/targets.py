"""Which servers take part in a scenario, and how each is started.

A target is one server in one configuration: `mosec`, `fastapi-torch`, `ours-inline`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import artifacts, environments
from benchmarks.payloads import Style
from benchmarks.scenarios import Scenario

ROOT = Path(__file__).parent.parent
OURS = "ours"
# Peer by the name used on the command line, and its folder under `peers` and under the environments.
PEERS = {
    "bentoml": "bentoml_stock",
    "litserve": "litserve",
    "mlserver": "mlserver",
    "ray": "rayserve",
    "mosec": "mosec",
    "fastapi": "fastapi",
}
PLACEMENTS = ("process", "inline")
_OVERHEAD_PROJECT = ROOT / "tests" / "live" / "projects" / "overhead"
_THREADS = "2"
# Batches of images are memory and wait; batches of numbers are neither.
_MAX_BATCH = {"image": "16", "recommender": "16"}
_BRIEF = ("ours-process", "ours-inline", "mosec", "fastapi-torch")
_TWIN_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Target:
    """`{port}` in the command is the port. `is_own_judge`: its model differs from the artifact, so that its answers
    are compared with its own when idle."""

    key: str
    peer: str
    style: Style
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    note: str = ""
    is_own_judge: bool = False
    artifacts: tuple[Path, ...] = ()


def targets_of(scenario: Scenario) -> list[Target]:
    """Every target of a scenario. Nothing is installed or made by asking."""
    found = [*ours(scenario), *_peers(scenario)]
    return [target for target in found if not scenario.is_brief or target.key in _BRIEF]


def ours(scenario: Scenario, *, gateways: int = 1) -> list[Target]:
    """The service in each placement."""
    return [_ours(scenario, placement, gateways) for placement in PLACEMENTS]


def base_env() -> dict[str, str]:
    """The environment of every server: the caller's without settings of ours or of BentoML, two threads for all."""
    passed = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKUNOUCHI_", "BENTOML", "BENCH_"))
    }
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONWARNINGS"):
        passed.pop(name, None)
    return {
        **passed,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": _THREADS,
        "OPENBLAS_NUM_THREADS": _THREADS,
        "BENTOML_DO_NOT_TRACK": "True",
        "ORT_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def twin_file(artifact: Path) -> Path:
    """Where the scikit-learn pipeline of the plain tabular servers lies."""
    return artifacts.cache_folder() / "twins" / f"{artifact.parent.name}-{artifact.name}.joblib"


def make_twin(artifact: Path) -> None:
    """Train it unless it is there, in the environment of the peer that loads it. Raises NotInstallable."""
    target = twin_file(artifact)
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    tables = sorted((artifacts.cache_folder().parent / "packages").glob("*/german.csv"))
    command = [str(environments.prepare(PEERS["fastapi"])), "-m", "benchmarks.peers.fastapi.train_twin"]
    command += [str(artifact), str(target), *map(str, tables[:1])]
    try:
        subprocess.run(
            command, cwd=ROOT, env=base_env(), check=True, capture_output=True, text=True, timeout=_TWIN_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        raise environments.NotInstallable(
            f"the scikit-learn pipeline could not be trained: {error.stderr[-300:]}"
        ) from error


def _ours(scenario: Scenario, placement: str, gateways: int) -> Target:
    key = f"{OURS}-{placement}" + (f"-{gateways}-gateways" if gateways > 1 else "")
    home = artifacts.cache_folder() / "homes" / f"{scenario.key}-{key}"
    used = () if scenario.kind == "overhead" else _our_artifacts(scenario)
    env = {**base_env(), "BENTOML_HOME": str(artifacts.home_with(used, home))}
    env.pop("PYTHONPATH")
    models = ("IMAGE", "TABULAR", "RECOMMENDER")
    env |= {f"MAKUNOUCHI_{model}_PLACEMENT": placement for model in models if scenario.kind != "overhead"}
    if scenario.kind == "overhead":
        env |= {"OVERHEAD_PLACEMENT": placement, "PYTHONPATH": str(ROOT)}
    elif scenario.artifact_name or scenario.catalogue:
        chosen = scenario.artifact()
        if chosen is not None:
            env[f"MAKUNOUCHI_{scenario.kind.upper()}_MODEL"] = f"{chosen.parent.name}:{chosen.name}"
    if gateways > 1:
        env["BENTOML_CONFIG_OVERRIDES"] = json.dumps({"services": {"Gateway": {"workers": gateways}}})
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    command = (bentoml, "serve", "service:Gateway", "--host", "127.0.0.1", "--port", "{port}")
    folder = _OVERHEAD_PROJECT if scenario.kind == "overhead" else ROOT
    note = {"process": "each model in its own process", "inline": "models in the gateway's process"}[placement]
    return Target(key, OURS, "ours", command, env, folder, note, artifacts=used)


def _our_artifacts(scenario: Scenario) -> tuple[Path, ...]:
    chosen = scenario.artifact()
    defaults = [artifacts.newest(name) for name in ("image", "tabular", "recommender")]
    return tuple(dict.fromkeys(path for path in [chosen, *defaults] if path is not None))


def _peers(scenario: Scenario) -> list[Target]:
    folder = scenario.artifact()
    env = {**base_env(), "BENCH_SCENARIO": scenario.kind, "BENCH_MAX_BATCH": _MAX_BATCH.get(scenario.kind, "64")}
    if folder is not None:
        env["BENCH_ARTIFACT"] = str(folder)
    raw: Style = "raw" if scenario.kind == "image" else "plain"
    stock_home = artifacts.cache_folder() / "homes" / f"{scenario.key}-bentoml"
    used = () if folder is None else (folder,)
    found = [
        _bentoml({**env, "BENTOML_HOME": str(stock_home)}, used),
        Target("litserve", "litserve", "plain", _script("litserve", "server"), env, artifacts=used),
        Target("mlserver", "mlserver", "v2", _script("mlserver", "start"), env, artifacts=used),
        Target("ray", "ray", raw, _script("rayserve", "server"), env, artifacts=used),
        Target("mosec", "mosec", "mosec", _script("mosec", "server"), env, artifacts=used),
        Target("fastapi", "fastapi", "plain", _script("fastapi", "server"), env, note="no batching", artifacts=used),
    ]
    if folder is None or scenario.kind == "recommender":
        return found
    plain = {**env, "BENCH_RUNTIME": "plain"}
    if scenario.kind == "tabular":
        plain["BENCH_MODEL"] = str(twin_file(folder))
        return [
            *found,
            _plain("fastapi-sklearn", "fastapi", "plain", plain),
            _plain("mlserver-sklearn", "mlserver", "v2-table", plain),
        ]
    plain["BENCH_MODEL"] = "resnet18" if "resnet18" in scenario.artifact_name else "efficientnet_lite0"
    return [
        *found,
        _plain("fastapi-torch", "fastapi", "plain", plain),
        _plain("litserve-torch", "litserve", "plain", plain),
    ]


def _bentoml(env: Mapping[str, str], used: tuple[Path, ...]) -> Target:
    bentoml = str(environments.python_of("bentoml_stock").with_name("bentoml"))
    service = "benchmarks.peers.bentoml_stock.service:Gateway"
    command = (bentoml, "serve", service, "--host", "127.0.0.1", "--port", "{port}")
    return Target(
        "bentoml", "bentoml", "plain", command, env, note="a gateway that depends on a runner", artifacts=used
    )


def _plain(key: str, peer: str, style: Style, env: Mapping[str, str]) -> Target:
    note = {"sklearn": "scikit-learn pipeline", "torch": "torch eager fp32"}[key.rpartition("-")[2]]
    module = "start" if peer == "mlserver" else "server"
    return Target(key, peer, style, _script(PEERS[peer], module), env, note=note, is_own_judge=True)


def _script(peer: str, module: str) -> tuple[str, ...]:
    return (str(environments.python_of(peer)), "-m", f"benchmarks.peers.{peer}.{module}")
