"""Access control over HTTP: roles, both headers, tokens, open operations, and the OpenAPI document."""

from __future__ import annotations

from pathlib import Path

import openapi_spec_validator
import pytest
from starlette.routing import Route

from serving.access.roles import Role
from tests.serving.access.credentials import API_KEYS, AUDIENCE, ISSUER, KEYS, Signer, headers, write_key_set
from tests.serving.in_process_service import ROW, LocalService

ROWS = {"instances": [ROW]}


@pytest.fixture
def locked() -> LocalService:
    return LocalService(api_keys=API_KEYS)


def test_without_keys_development_is_open(local_service: LocalService) -> None:
    assert local_service.post("/v1/tabular/predict", json=ROWS).status_code == 200
    assert local_service.get("/v1/models").status_code == 200


def test_a_request_without_a_key_is_answered_401_with_the_schemes(locked: LocalService) -> None:
    for answer in (locked.post("/v1/tabular/predict", json=ROWS), locked.get("/v1/models")):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="makunouchi"'
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "/problems/unauthenticated"


@pytest.mark.parametrize(
    "value", ["", "wrong", "x" * 10_000, KEYS["predict"][:-1], KEYS["predict"] + "x", "ü", "a.b.c"]
)
def test_a_wrong_key_is_401(locked: LocalService, value: str) -> None:
    answer = locked.get("/v1/models", headers={"X-API-Key": value.encode("latin-1")})
    assert answer.status_code == 401
    assert locked.get("/v1/models", headers={"Authorization": b"Bearer " + value.encode("latin-1")}).status_code == 401


def test_a_key_without_the_role_is_403_and_with_it_200(locked: LocalService) -> None:
    expected: dict[Role, tuple[int, int]] = {"read": (403, 200), "predict": (200, 200), "admin": (200, 200)}
    for role, statuses in expected.items():
        predicted = locked.post("/v1/tabular/predict", json=ROWS, headers=headers(role))
        assert (predicted.status_code, locked.get("/v1/models", headers=headers(role)).status_code) == statuses
        if predicted.status_code == 403:
            assert predicted.json()["detail"] == "this operation requires the role 'predict'"
            assert "www-authenticate" not in predicted.headers


@pytest.mark.parametrize(
    ("path", "reader"),
    [
        ("/v1/items", 200),
        ("/v1/items/top", 200),
        ("/v1/items/1", 200),
        ("/v1/items/1/similar", 200),
        ("/v1/users/alice", 403),
        ("/v1/users/alice/similar", 403),
        ("/v1/users/alice/groups", 403),
        ("/v1/users/alice/recommendations", 403),
    ],
)
def test_the_role_read_covers_the_catalogue_and_not_users(locked: LocalService, path: str, reader: int) -> None:
    # The guard has admitted a request that the runner answers with 404.
    assert (locked.get(path, headers=headers("read")).status_code == 403) == (reader == 403)
    assert locked.get(path, headers=headers("predict")).status_code in (200, 404)


def test_a_key_is_accepted_in_either_header(locked: LocalService) -> None:
    for credentials in ({"X-API-Key": KEYS["read"]}, {"Authorization": f"Bearer {KEYS['read']}"},
                 {"authorization": f"bearer  {KEYS['read']}"}):  # fmt: skip
        assert locked.get("/v1/models", headers=credentials).status_code == 200
    assert locked.get("/v1/models", headers={"Authorization": f"Basic {KEYS['read']}"}).status_code == 401


def test_an_empty_key_header_leaves_the_other_header(locked: LocalService) -> None:
    given = {"X-API-Key": "", "Authorization": f"Bearer {KEYS['read']}"}
    assert locked.get("/v1/models", headers=given).status_code == 200


@pytest.mark.parametrize(("role", "statuses"), [("read", (200, 401)), ("predict", (200, 200))])
def test_callers_without_credentials_have_the_role_of_the_setting(role: str, statuses: tuple[int, int]) -> None:
    service = LocalService(api_keys=API_KEYS, anonymous_role=role)
    answers = (service.get("/v1/models"), service.post("/v1/tabular/predict", json=ROWS))
    assert tuple(answer.status_code for answer in answers) == statuses
    assert service.get("/v1/models", headers={"X-API-Key": "wrong"}).status_code == 401
    assert service.post("/v1/models/tabular/reload", json={}).status_code == 401
    security = service.get("/docs.json").json()["paths"]["/v1/models"]["get"]["security"]
    assert security[0] == {}
    assert len(security) > 1


def test_the_body_of_an_unauthenticated_request_is_not_read(locked: LocalService) -> None:
    assert locked.post_json("/v1/tabular/predict", "not json").status_code == 401
    assert locked.post_json("/predict_tabular", "not json").status_code == 401


def test_settings_restrict_probes_and_pages(locked: LocalService) -> None:
    probes, pages = ["/livez", "/readyz", "/health", "/metrics"], ["/", "/redoc", "/openapi.json", "/docs.json", "/v1",
                                                                  "/problems", "/ui/pages.css"]  # fmt: skip
    closed = LocalService(api_keys=API_KEYS, probes_access="read", docs_access="read")
    for path in (*probes, *pages):
        assert locked.get(path).status_code == 200
        assert closed.get(path).status_code == 401, path
        assert closed.get(path + "/").status_code == 401, path
        assert closed.get(path, headers=headers("read")).status_code == 200


SERVED = ("image", "tabular", "recommender")


def test_every_route_except_the_open_ones_requires_credentials(locked: LocalService) -> None:
    opened = set()
    for route in locked.app.routes:
        if isinstance(route, Route):
            method = next(each for each in sorted(route.methods or ()) if each != "HEAD")
            # A model that has the operation: not every one has feedback or a stream.
            paths = {route.path.replace("{name}", name).replace("{slug}", "validation") for name in SERVED}
            statuses = {locked.ask(method, path).status_code for path in paths}
            if not (401 in statuses and statuses <= {401, 404, 405}):
                opened.add(route.path)
    assert opened == {
        "/", "/redoc", "/openapi.json", "/docs.json", "/ui/{name}", "/v1", "/problems", "/problems/{slug}",
        "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready",
        "/v2/models/{name}/versions/{version}/ready", "/livez", "/readyz", "/health", "/metrics",
    }  # fmt: skip


def test_a_signed_token_is_accepted(tmp_path: Path) -> None:
    signer = Signer()
    where = write_key_set(tmp_path / "jwks.json", signer)
    local_service = LocalService(api_keys=API_KEYS, jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks=where)

    def status(token: str) -> int:
        return local_service.post(
            "/v1/tabular/predict", json=ROWS, headers={"Authorization": f"Bearer {token}"}
        ).status_code

    assert status(signer.token()) == 200
    assert status(signer.token(roles="read")) == 403
    assert status(signer.token(aud="other")) == 401
    assert status(KEYS["predict"]) == 200


def test_without_a_key_set_tokens_are_answered_503(tmp_path: Path) -> None:
    local_service = LocalService(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks=str(tmp_path / "none.json"))
    answer = local_service.get("/v1/models", headers={"Authorization": f"Bearer {Signer().token()}"})

    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/keys-unavailable"
    assert answer.headers["retry-after"] == "10"
    assert str(tmp_path) not in answer.text


def test_an_empty_file_of_keys_refuses_all_requests(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none left\n")
    local_service = LocalService(api_keys_file=str(tmp_path / "keys"))

    assert local_service.get("/v1/models").status_code == 401


@pytest.mark.slow
def test_the_document_describes_the_security(locked: LocalService, local_service: LocalService) -> None:
    document = locked.get("/openapi.json").json()
    openapi_spec_validator.validate(document)
    predict = document["paths"]["/v1/tabular/predict"]["post"]

    assert predict["security"] == [{"ApiKey": []}, {"Bearer": []}]
    assert {"401", "403"} <= set(predict["responses"])
    assert "WWW-Authenticate" in predict["responses"]["401"]["headers"]
    assert document["paths"]["/livez"]["get"]["security"] == []
    assert "401" not in local_service.get("/openapi.json").json()["paths"]["/v1/tabular/predict"]["post"]["responses"]
