"""Internals of BentoML that the service depends on: an upgrade that changes one fails the test of its name."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import bentoml
import numpy as np
import pytest
from _bentoml_impl.server import app as server_app  # type: ignore[import-untyped]
from _bentoml_impl.server import serving as server_serving
from _bentoml_impl.worker import service as worker  # type: ignore[import-untyped]
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from _bentoml_sdk.service.dependency import Dependency  # type: ignore[import-untyped]
from bentoml._internal import log
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.marshal.dispatcher import CorkDispatcher
from bentoml._internal.runner.container import AutoContainer
from bentoml._internal.utils import circus as circus_of_bentoml
from bentoml._internal.utils.uri import join_paths
from bentoml.exceptions import ServiceUnavailable
from bentoml.serving import create_watcher
from circus.arbiter import Arbiter as CircusArbiter  # type: ignore[import-untyped]
from circus.controller import Controller as CircusController  # type: ignore[import-untyped]
from circus.process import Process as CircusProcess  # type: ignore[import-untyped]
from circus.sighandler import SysHandler  # type: ignore[import-untyped]
from circus.watcher import Watcher as CircusWatcher  # type: ignore[import-untyped]
from numpy.typing import NDArray
from starlette.middleware import Middleware

from serving.asgi import PICKLE
from serving.bento.runner import RunnerAppFactory, RunnerService
from serving.bento.tracing import tracing, tracing_exporter
from serving.kinds.registry import ServiceSettings
from serving.process.fork_server import Forked
from serving.runners.placement import Placed
from tests.serving.event_loop import in_loop


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@bentoml.service(metrics={"enabled": False}, service_class=RunnerService.using(ServiceSettings()))
class Doubling:
    @bentoml.api(batchable=True, max_batch_size=10, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return 2 * rows


doubling: Any = Doubling  # Any: the decorator gives a service


def test_the_decorator_takes_a_service_class() -> None:
    assert isinstance(doubling, RunnerService)
    assert "service_class" in parameters(bentoml.service)


def test_to_asgi_is_called_with_is_main() -> None:
    assert parameters(Service.to_asgi) == ["self", "is_main"]
    assert "service.to_asgi(is_main=" in inspect.getsource(worker)


def test_to_asgi_injects_the_configuration_first() -> None:
    assert "self.inject_config()" in inspect.getsource(Service.to_asgi)


def test_a_service_subclass_can_hold_attributes() -> None:
    doubling.something = 1
    assert doubling.something == 1
    del doubling.something


def test_the_factory_takes_service_and_is_main() -> None:
    assert parameters(server_app.ServiceAppFactory.__init__)[:3] == ["self", "service", "is_main"]


@pytest.mark.parametrize(
    "name", ["create_instance", "destroy_instance", "batch_infer", "middlewares", "readyz", "__call__"]
)
def test_the_factory_has_the_overridden_members(name: str) -> None:
    assert hasattr(server_app.ServiceAppFactory, name)


def test_batchable_methods_call_batch_infer() -> None:
    assert parameters(server_app.ServiceAppFactory.batch_infer) == ["self", "name", "input_args", "input_kwargs"]
    assert "await self.batch_infer(name, call_args, call_kwargs)" in inspect.getsource(server_app.ServiceAppFactory)


def test_the_factory_stores_the_service_instance() -> None:
    assert "self._service_instance = self.service()" in inspect.getsource(server_app.ServiceAppFactory.create_instance)


def test_the_context_middleware_takes_app_and_context() -> None:
    assert parameters(server_app.ContextMiddleware.__init__) == ["self", "app", "context"]


def test_the_factory_makes_one_dispatcher_per_batchable_method() -> None:
    doubling.inject_config()
    factory = RunnerAppFactory(doubling, is_main=False, settings=doubling.settings)
    assert list(factory.dispatchers) == ["predict"]
    assert isinstance(factory.dispatchers["predict"], CorkDispatcher)


def test_the_factory_omits_the_stock_middleware() -> None:
    doubling.inject_config()
    stock = server_app.ServiceAppFactory(doubling, is_main=False).middlewares
    lean = RunnerAppFactory(doubling, is_main=False, settings=doubling.settings).middlewares
    assert "OpenTelemetryMiddleware" in {getattr(each.cls, "__name__", "") for each in stock}
    assert [getattr(each.cls, "__name__", "") for each in lean] == ["ContextMiddleware"]


def test_the_size_of_a_list_is_its_length_to_the_dispatcher() -> None:
    assert AutoContainer.get_batch_size([1, 2, 3], 0) == 3
    assert AutoContainer.batch_to_batches([1, 2, 3], [0, 2, 3], 0) == [[1, 2], [3]]
    assert AutoContainer.batches_to_batch([[1, 2], [3]], 0)[0] == [1, 2, 3]


def dispatcher(**options: Any) -> CorkDispatcher[Any, Any]:
    def fallback() -> None:
        raise ServiceUnavailable("process is overloaded")

    return CorkDispatcher(60_000, options.pop("max_batch_size", 10), fallback=fallback, get_batch_size=len, **options)


@in_loop
async def test_the_dispatcher_returns_to_each_call_its_results() -> None:
    async def answer(batches: Any) -> list[Any]:
        return [[10 * item for item in batch] for batch in batches]

    merge = dispatcher()
    assert await asyncio.gather(*(merge(answer)([number]) for number in range(5))) == [[10 * n] for n in range(5)]
    merge.shutdown()
    await asyncio.sleep(0.01)


@in_loop
async def test_the_dispatcher_raises_an_exception_that_is_a_result() -> None:
    async def answer(batches: Any) -> list[Any]:
        return [ValueError("this one") if batch == [1] else batch for batch in batches]

    merge = dispatcher()
    results = await asyncio.gather(*(merge(answer)([number]) for number in range(3)), return_exceptions=True)
    assert results[0] == [0]
    assert isinstance(results[1], ValueError)
    assert results[2] == [2]
    merge.shutdown()
    await asyncio.sleep(0.01)


@in_loop
async def test_the_dispatcher_splits_large_calls_and_joins_their_results() -> None:
    sizes = []

    async def answer(batches: Any) -> list[Any]:
        sizes.append(sum(len(batch) for batch in batches))
        return [list(batch) for batch in batches]

    merge = dispatcher(max_batch_size=4)
    assert await merge(answer)(list(range(10))) == list(range(10))
    assert max(sizes) <= 4
    merge.shutdown()
    await asyncio.sleep(0.01)


def test_an_api_method_of_an_instance_has_its_plain_function() -> None:
    instance = doubling()
    np.testing.assert_array_equal(instance.predict.local(np.ones((1, 2))), 2 * np.ones((1, 2)))


def test_the_apis_of_a_service_have_is_batchable() -> None:
    assert doubling.apis["predict"].batchable
    assert doubling.apis["predict"].route == "/predict"


def test_dependency_has_the_fields_of_placed() -> None:
    fields = {field.name: field for field in attrs.fields(Dependency)}
    assert set(fields) == {"on", "deployment", "cluster", "url", "_resolved"}
    assert not fields["_resolved"].init


def test_a_placed_dependency_is_found_by_the_service() -> None:
    class Inner:
        doubling: Any = Placed(on=doubling)

    service = Service(name="Outer", inner=Inner)
    assert list(service.dependencies) == ["doubling"]


def test_a_dependency_without_a_process_is_created_in_this_one() -> None:
    BentoMLContainer.remote_runner_mapping.set({})
    try:
        placed: Any = Placed(on=doubling)
        np.testing.assert_array_equal(placed.get().predict.local(np.ones((1, 1))), [[2]])
    finally:
        BentoMLContainer.remote_runner_mapping.reset()


def test_all_services_decides_which_processes_are_started() -> None:
    assert parameters(Service.all_services) == ["self", "exclude_urls"]
    source = inspect.getsource(server_serving.serve_http)
    # Before the description of any process and its inherited environment.
    assert 0 < source.index("svc.all_services(exclude_urls=True)") < source.index("create_dependency_watcher(\n")
    assert "copy_env=True" in inspect.getsource(create_watcher)
    assert "self.env = os.environ.copy()" in inspect.getsource(CircusWatcher)


def test_the_runner_map_is_given_to_every_process() -> None:
    source = inspect.getsource(server_serving.serve_http)
    assert '"BENTOML_RUNNER_MAP": json.dumps(dependency_map)' in source
    assert "BentoMLContainer.remote_runner_mapping.set(" in inspect.getsource(worker)


def test_the_runner_map_holds_file_or_tcp_addresses() -> None:
    source = inspect.getsource(server_serving._get_server_socket)
    assert "path_to_uri(socket_path)" in source
    assert 'f"tcp://{runner_host}:{runner_port}"' in source
    from bentoml._internal.utils.uri import path_to_uri

    assert path_to_uri("/run/a b/1.sock") == "file:///run/a%20b/1.sock"


def test_the_replaced_constructor_of_the_arbiter_is_the_one_that_is_called() -> None:
    create = inspect.getsource(circus_of_bentoml.create_standalone_arbiter)
    assert "arbiter_cls = ThreadedArbiter if threaded else Arbiter" in create
    for given in ("watchers,", "endpoint=f", "pubsub_endpoint=f", 'check_delay=kwargs.pop("check_delay", 10)'):
        assert given in create
    assert parameters(circus_of_bentoml.Arbiter.__init__) == ["self", "args", "kwargs"]
    assert issubclass(circus_of_bentoml.ThreadedArbiter, circus_of_bentoml.Arbiter)
    assert "super().__init__(*args, **kwargs)" in inspect.getsource(circus_of_bentoml.ThreadedArbiter.__init__)
    assert parameters(CircusArbiter.__init__)[1:5] == ["watchers", "endpoint", "pubsub_endpoint", "check_delay"]


def test_the_arbiter_is_created_after_the_hooks_of_deployment() -> None:
    source = inspect.getsource(server_serving.serve_http)
    assert 0 < source.index("server_on_deployment(svc)") < source.index("create_standalone_arbiter(**arbiter_kwargs)")
    assert "check_delay" not in source
    assert "self.exit_stack = contextlib.ExitStack()" in inspect.getsource(circus_of_bentoml.Arbiter)
    assert "graceful_timeout=86400" in inspect.getsource(create_watcher)
    assert "respawn=not running_inside_container()" in inspect.getsource(create_watcher)


def test_circus_calls_what_the_supervision_replaces() -> None:
    controller = inspect.getsource(CircusController)
    assert "AsyncPeriodicCallback(self.arbiter.manage_watchers" in controller
    assert "self.sys_hdl = SysHandler(self)" in controller
    assert "self.quit()" in inspect.getsource(SysHandler.handle_term)
    assert "self.quit()" in inspect.getsource(SysHandler.handle_int)
    arbiter = inspect.getsource(CircusArbiter)
    assert "self._stopping = True" in arbiter
    assert "exc, self._exception = self._exception, None" in arbiter
    assert "waited >= graceful_timeout" in inspect.getsource(CircusWatcher.kill_process)
    assert "process.stopping = True" in inspect.getsource(CircusWatcher.kill_process)
    assert "self.processes[process.pid] = process" in inspect.getsource(CircusWatcher.spawn_process)


def test_circus_starts_a_process_as_the_fork_server_does() -> None:
    spawn = inspect.getsource(CircusProcess.spawn)
    assert "self._worker = Popen(args, cwd=self.working_dir," in spawn
    assert "env=self.env, close_fds=not self.use_fds," in spawn
    for step in ("streams.append(sys.stdin)", "self._null_streams(streams)", "os.setsid()"):
        assert step in spawn
    used = set(re.findall(r"self\._worker\.(\w+)", inspect.getsource(CircusProcess)))
    assert {name for name in used if not hasattr(Forked, name)} == set()
    assert "_setproctitle(self.proc_name)" in inspect.getsource(CircusArbiter)
    source = inspect.getsource(server_serving)
    assert len(re.findall(r'"-m",\s+_SERVICE_WORKER_SCRIPT,', source)) == 2
    assert source.count("sys.executable") == 2
    assert "logging.config.dictConfig(SERVER_LOGGING_CONFIG)" in inspect.getsource(log.configure_server_logging)


def test_the_folder_of_the_runners_sockets_is_private() -> None:
    # mkdtemp makes a folder that only its user can enter.
    assert 'uds_path = tempfile.mkdtemp(prefix="bentoml-uds-")' in inspect.getsource(server_serving.serve_http)


def test_serve_http_takes_what_process_1_of_the_image_gives() -> None:
    assert {"host", "port", "working_dir"} <= set(parameters(server_serving.serve_http))


def test_the_processes_of_services_are_named_after_them() -> None:
    assert 'name=f"service_{svc.name}"' in inspect.getsource(server_serving.create_dependency_watcher)
    assert 'name="service"' in inspect.getsource(server_serving.serve_http)


def test_processes_get_the_folder_of_metrics_from_the_environment_of_their_watcher() -> None:
    """BentoML's folder is in BENTOML_HOME, and the start of another service empties it."""
    assert '{"PROMETHEUS_MULTIPROC_DIR": ensure_prometheus_dir()}' in inspect.getsource(server_serving.serve_http)
    assert "env={k: str(v) for k, v in env.items()}," in inspect.getsource(server_serving.serve_http)


def test_the_keep_alive_of_a_runner_is_five_seconds() -> None:
    option = next(each for each in worker.main.params if each.name == "timeout_keep_alive")
    assert option.default == 5


def test_the_configuration_has_the_exporter_of_traces() -> None:
    assert tracing_exporter() is None
    assert tracing() == []


def test_a_configured_exporter_enables_the_tracing_middleware(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from serving.bento.tracing import tracing, tracing_exporter\n"
        "print(tracing_exporter(), [each.cls.__name__ for each in tracing()])"
    )
    env = {**os.environ, "BENTOML_CONFIG_OVERRIDES": json.dumps({"tracing": {"exporter_type": "in_memory"}})}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=env, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.split("\n")[-2] == "in_memory ['OpenTelemetryMiddleware']"


def test_the_lifespan_of_a_service_starts_its_mounted_applications() -> None:
    assert "self.service.mount_apps" in inspect.getsource(server_app.ServiceAppFactory.lifespan)
    assert "mount_apps" in {field.name for field in attrs.fields(Service)}


def test_a_service_stores_added_middleware() -> None:
    class Added:
        pass

    service = Service(name="WithMiddleware", inner=Added)
    service.add_asgi_middleware(Added, option=1)
    assert service.middlewares == [(Added, {"option": 1})]


def test_join_paths_gives_the_path_of_a_native_method() -> None:
    assert join_paths("", "/predict") == "/predict"
    assert join_paths("/v1", "/predict") == "/v1/predict"


def test_the_media_type_of_pickle() -> None:
    from _bentoml_impl.serde import ALL_SERDE  # type: ignore[import-untyped]

    assert PICKLE.decode() in ALL_SERDE


def test_a_middleware_has_class_and_arguments() -> None:
    middleware = Middleware(server_app.ContextMiddleware, context=1)
    assert (middleware.cls, middleware.args, middleware.kwargs) == (server_app.ContextMiddleware, (), {"context": 1})
