"""Servers of a scenario and their start commands.

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
# Name of a peer on the command line to its folder in `peers` and in the environments.
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
# Large batches of images and of score vectors need memory and increase the latency.
_MAX_BATCH = {"image": "16", "recommender": "16"}
_BRIEF = ("ours-process", "ours-inline", "mosec", "fastapi-torch")
_TRAINING_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Target:
    """One server in one configuration. The command contains `{port}` for the port.

    `is_self_validated`: its model is not that of the artifact. Results under load are compared with its results without
    load.
    """

    key: str
    peer: str
    style: Style
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    note: str = ""
    is_self_validated: bool = False
    artifacts: tuple[Path, ...] = ()


def targets_of(scenario: Scenario) -> list[Target]:
    """Return all targets of a scenario. Does not install or create anything for peers."""
    targets = [*ours(scenario), *_peers(scenario)]
    return [target for target in targets if not scenario.is_brief or target.key in _BRIEF]


def ours(scenario: Scenario, *, gateways: int = 1) -> list[Target]:
    """Return the service with models in separate processes and in the process of the gateway."""
    return [_ours(scenario, placement, gateways) for placement in PLACEMENTS]


def base_env() -> dict[str, str]:
    """Return the environment of all servers: without settings of the service and of BentoML, with two threads."""
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKUNOUCHI_", "BENTOML", "BENCH_"))
    }
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONWARNINGS"):
        variables.pop(name, None)
    return {
        **variables,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": _THREADS,
        "OPENBLAS_NUM_THREADS": _THREADS,
        "BENTOML_DO_NOT_TRACK": "True",
        "ORT_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def baseline_file(artifact: Path) -> Path:
    """Return the path of the scikit-learn pipeline of the baseline servers."""
    return artifacts.cache_folder() / "baselines" / f"{artifact.parent.name}-{artifact.name}.joblib"


def train_baseline(artifact: Path) -> None:
    """Train the scikit-learn pipeline in the environment of its peer unless it exists. Raises InstallError."""
    file = baseline_file(artifact)
    if file.is_file():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    tables = sorted((artifacts.cache_folder().parent / "packages").glob("*/german.csv"))
    command = [str(environments.prepare(PEERS["fastapi"])), "-m", "benchmarks.peers.fastapi.train_baseline"]
    command += [str(artifact), str(file), *map(str, tables[:1])]
    try:
        subprocess.run(
            command, cwd=ROOT, env=base_env(), check=True, capture_output=True, text=True, timeout=_TRAINING_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        raise environments.InstallError(f"cannot train the scikit-learn pipeline: {error.stderr[-300:]}") from error


def _ours(scenario: Scenario, placement: str, gateways: int) -> Target:
    key = f"{OURS}-{placement}" + (f"-{gateways}-gateways" if gateways > 1 else "")
    home = artifacts.cache_folder() / "homes" / f"{scenario.key}-{key}"
    used = () if scenario.kind == "overhead" else _our_artifacts(scenario)
    env = {**base_env(), "BENTOML_HOME": str(artifacts.create_home(used, home))}
    env.pop("PYTHONPATH")
    models = ("IMAGE", "TABULAR", "RECOMMENDER")
    env |= {f"MAKUNOUCHI_{model}_PLACEMENT": placement for model in models if scenario.kind != "overhead"}
    if scenario.kind == "overhead":
        env |= {"OVERHEAD_PLACEMENT": placement, "PYTHONPATH": str(ROOT)}
    elif scenario.artifact_name or scenario.catalogue:
        artifact = scenario.artifact()
        if artifact is not None:
            env[f"MAKUNOUCHI_{scenario.kind.upper()}_MODEL"] = f"{artifact.parent.name}:{artifact.name}"
    if gateways > 1:
        env["BENTOML_CONFIG_OVERRIDES"] = json.dumps({"services": {"Gateway": {"workers": gateways}}})
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    command = (bentoml, "serve", "service:Gateway", "--host", "127.0.0.1", "--port", "{port}")
    folder = _OVERHEAD_PROJECT if scenario.kind == "overhead" else ROOT
    note = {"process": "each model in its own process", "inline": "models in the process of the gateway"}[placement]
    return Target(key, OURS, "ours", command, env, folder, note, artifacts=used)


def _our_artifacts(scenario: Scenario) -> tuple[Path, ...]:
    selected = scenario.artifact()
    defaults = [artifacts.newest(name) for name in ("image", "tabular", "recommender")]
    return tuple(dict.fromkeys(path for path in [selected, *defaults] if path is not None))


def _peers(scenario: Scenario) -> list[Target]:
    folder = scenario.artifact()
    env = {**base_env(), "BENCH_SCENARIO": scenario.kind, "BENCH_MAX_BATCH": _MAX_BATCH.get(scenario.kind, "64")}
    if folder is not None:
        env["BENCH_ARTIFACT"] = str(folder)
    raw: Style = "raw" if scenario.kind == "image" else "json"
    stock_home = artifacts.cache_folder() / "homes" / f"{scenario.key}-bentoml"
    used = () if folder is None else (folder,)
    targets = [
        _bentoml({**env, "BENTOML_HOME": str(stock_home)}, used),
        Target("litserve", "litserve", "json", _script("litserve", "server"), env, artifacts=used),
        Target("mlserver", "mlserver", "v2", _script("mlserver", "start"), env, artifacts=used),
        Target("ray", "ray", raw, _script("rayserve", "server"), env, artifacts=used),
        Target("mosec", "mosec", "mosec", _script("mosec", "server"), env, artifacts=used),
        Target("fastapi", "fastapi", "json", _script("fastapi", "server"), env, note="no batching", artifacts=used),
    ]
    if folder is None or scenario.kind == "recommender":
        return targets
    baseline = {**env, "BENCH_RUNTIME": "baseline"}
    if scenario.kind == "tabular":
        baseline["BENCH_MODEL"] = str(baseline_file(folder))
        return [
            *targets,
            _baseline("fastapi-sklearn", "fastapi", "json", baseline),
            _baseline("mlserver-sklearn", "mlserver", "v2-table", baseline),
        ]
    baseline["BENCH_MODEL"] = "resnet18" if "resnet18" in scenario.artifact_name else "efficientnet_lite0"
    return [
        *targets,
        _baseline("fastapi-torch", "fastapi", "json", baseline),
        _baseline("litserve-torch", "litserve", "json", baseline),
    ]


def _bentoml(env: Mapping[str, str], used: tuple[Path, ...]) -> Target:
    bentoml = str(environments.python_of("bentoml_stock").with_name("bentoml"))
    service = "benchmarks.peers.bentoml_stock.service:Gateway"
    command = (bentoml, "serve", service, "--host", "127.0.0.1", "--port", "{port}")
    return Target("bentoml", "bentoml", "json", command, env, note="a gateway that depends on a runner", artifacts=used)


def _baseline(key: str, peer: str, style: Style, env: Mapping[str, str]) -> Target:
    note = {"sklearn": "scikit-learn pipeline", "torch": "torch eager fp32"}[key.rpartition("-")[2]]
    module = "start" if peer == "mlserver" else "server"
    return Target(key, peer, style, _script(PEERS[peer], module), env, note=note, is_self_validated=True)


def _script(peer: str, module: str) -> tuple[str, ...]:
    return (str(environments.python_of(peer)), "-m", f"benchmarks.peers.{peer}.{module}")
