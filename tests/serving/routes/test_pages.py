"""The documentation pages: their files come from this service, and they call no other host."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest

from tests.serving.in_process_service import LocalService


@pytest.mark.parametrize("path", ["/", "/redoc"])
def test_a_page_loads_every_file_from_this_service(local_service: LocalService, path: str) -> None:
    page = local_service.get(path)

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    references = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(references) >= 4
    for each in references:
        assert not each.startswith(("http:", "https:", "//"))
        assert local_service.get("/" + each.removeprefix("./")).status_code == 200, each
    assert "<script>" not in page.text
    assert "onclick" not in page.text


@pytest.mark.parametrize("path", ["/", "/redoc"])
def test_each_page_links_to_the_other(local_service: LocalService, path: str) -> None:
    page = local_service.get(path).text

    assert 'href="./"' in page
    assert 'href="redoc"' in page


@pytest.mark.parametrize("path", ["/", "/redoc"])
def test_the_content_security_policy_allows_this_host_only(local_service: LocalService, path: str) -> None:
    headers = local_service.get(path).headers

    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"


def test_swagger_ui_uses_no_external_validator(local_service: LocalService) -> None:
    assert "validatorUrl: null" in local_service.get("/ui/swagger.js").text
    assert 'url: "openapi.json"' in local_service.get("/ui/swagger.js").text


def test_an_unchanged_file_is_answered_304(local_service: LocalService) -> None:
    first = local_service.get("/ui/swagger-ui.css")

    again = local_service.get("/ui/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["cache-control"] == "no-cache"
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path", ["/ui", "/ui/", "/ui/../app.py", "/ui/..%2Fapp.py", "/ui/%2e%2e/app.py", "/ui//etc/passwd"]
)
def test_folders_and_files_outside_of_ui_are_not_served(local_service: LocalService, path: str) -> None:
    response = local_service.get(path)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/", "/redoc", "/redoc/"])
def test_references_of_a_page_are_right_at_its_own_path(local_service: LocalService, path: str) -> None:
    page = local_service.get(path)

    assert page.status_code == 200
    for each in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert local_service.get(urljoin(path, each)).status_code == 200, each
