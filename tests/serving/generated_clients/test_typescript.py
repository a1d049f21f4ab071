"""TypeScript clients of four generators are generated, compiled strictly, and make every main call."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.serving.generated_clients.generators import node_tools, openapi_generator, run
from tests.serving.generated_clients.main_calls import check_outcome, write_inputs

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
TSCONFIG = {
    "compilerOptions": {
        "target": "es2022", "module": "esnext", "moduleResolution": "bundler", "strict": True, "noEmit": True,
        "lib": ["es2022", "dom", "dom.iterable"], "types": ["node"], "skipLibCheck": True,
    },
    "include": ["**/*.ts"],
}  # fmt: skip
# Fields with a default are optional in requests.
OPENAPI_TYPESCRIPT = ["--default-non-nullable=false"]
# orval's functions take bodies of all media types of an operation, and then send forms and JSON as they are.
BODIES = {"contentType": {"include": ["application/json", "multipart/form-data"]}}
FILES = {
    "classify_image_file": {"contentType": {"include": ["application/octet-stream"]}},
    "get_job_result": {"contentType": {"include": ["application/x-ndjson"]}},
}
ORVAL = {
    "client": {
        "input": "openapi.json",
        "output": {
            "target": "client/client.ts",
            "client": "fetch",
            "override": {**BODIES, "operations": FILES},
        },
    }
}


def generate(generator: str, folder: Path) -> None:
    """Write the client to `client` in `folder`, which has the document."""
    tools = folder / "node_modules/.bin"
    match generator:
        case "openapi_typescript":
            run([tools / "openapi-typescript", "openapi.json", "-o", "client/schema.ts", *OPENAPI_TYPESCRIPT], folder)
        case "hey_api":
            run([tools / "openapi-ts", "-i", "openapi.json", "-o", "client", "-c", "@hey-api/client-fetch"], folder)
        case "orval":
            (folder / "orval.config.mjs").write_text(f"export default {json.dumps(ORVAL)};")
            run([tools / "orval", "--config", "orval.config.mjs"], folder)
        case _:
            options = ["generate", "-i", "openapi.json", "-g", "typescript-fetch", "-o", "client"]
            run([*openapi_generator(), *options], folder)


@pytest.mark.parametrize("generator", ["hey_api", "openapi_typescript", "orval", "typescript_fetch"])
def test_the_client_compiles_and_makes_every_main_call(generator: str, address: str, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(node_tools() / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "tsconfig.json").write_text(json.dumps(TSCONFIG))
    write_inputs(tmp_path)
    generate(generator, tmp_path)
    for name in ("calls", generator):
        shutil.copy(HERE / f"{name}.ts", tmp_path)
    tools = tmp_path / "node_modules/.bin"

    run([tools / "tsc", "-p", "."], tmp_path)
    bundle = ["--bundle", "--platform=node", "--format=esm", "--outfile=calls.mjs"]
    run([tools / "esbuild", f"{generator}.ts", *bundle], tmp_path)
    outcome = run(["node", "calls.mjs", address, "image.png", "table.csv"], tmp_path)

    check_outcome(outcome)
