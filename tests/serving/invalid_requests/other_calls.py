"""Invalid requests to the other operations: URLs, tensors, feedback, models, queries, paths, keys, rate limits."""

from __future__ import annotations

from typing import Any

from tests.serving.access.credentials import KEYS
from tests.serving.in_process_service import ROW, png
from tests.serving.invalid_requests.case import (
    ALIASES,
    CLASSIFY,
    FEEDBACK,
    FETCHING,
    INFER,
    KEYED,
    PREDICT,
    RECOMMEND,
    RELOAD,
    Bad,
    as_admin,
    binary,
    cold,
    event,
    raw,
    reload,
    rows,
    tensor,
    twice,
    with_key,
)


def alias(
    what: str,
    name: str,
    body: object,
    status: int,
    says: str,
    parameter: str = "",
    *,
    before: dict[str, Any] | None = None,
) -> Bad:
    """Return an invalid PUT of an alias, or DELETE without a body. `parameter` of the path is at fault, if given."""
    return Bad(
        what,
        f"{ALIASES}/{name}",
        as_admin(body),
        status,
        says,
        ["path", parameter] if parameter else None,
        method="DELETE" if body is None else "PUT",
        settings=KEYED,
        before=before,
    )


BAD_REQUESTS = [
    Bad("invalid base64", CLASSIFY, {"json": {"image": "é"}}, 422, "base64", ["body", "image"]),
    Bad("base64 of text", CLASSIFY, {"json": {"image": "aGVsbG8="}}, 415, "not an image", ["body", "image"]),
    Bad(
        "a URL while fetching is disabled",
        CLASSIFY,
        {"json": {"url": "http://169.254.169.254/"}},
        422,
        "not fetched",
        ["body", "url"],
    ),
    Bad(
        "a private address",
        CLASSIFY,
        {"json": {"url": "http://169.254.169.254/latest"}},
        422,
        "not a public one",
        ["body", "url"],
        settings=FETCHING,
    ),
    Bad(
        "a file URL",
        CLASSIFY,
        {"json": {"url": "file:///etc/passwd"}},
        422,
        "only http:// and https://",
        ["body", "url"],
        settings=FETCHING,
    ),
    Bad("a truncated image as body", CLASSIFY, raw(png(size=(300, 300))[:-40], "image/png"), 422, "truncated"),
    Bad("a vector image", CLASSIFY, raw(b"<svg/>", "image/svg+xml"), 415, "SVG files are not read"),
    Bad("features in a list", RECOMMEND, cold([1]), 422, "object", ["body", "user_features"], "array"),
    Bad("max_per_category 0", RECOMMEND, {"json": {"user_id": "a", "max_per_category": 0}}, 422, "greater than"),
    Bad("feedback without events", FEEDBACK, {"json": {"events": []}}, 422, "at least 1", ["body", "events"], "array"),
    Bad("feedback without an item", FEEDBACK, event(item_id=None), 422, "string", ["body", "events", 0, "item_id"]),
    Bad(
        "tensors that do not fill their shape",
        INFER,
        tensor(shape=[2]),
        422,
        "do not fill",
        ["body", "inputs", 0, "shape"],
    ),
    Bad("a shape with a negative side", INFER, tensor(shape=[-1]), 422, "greater than or equal to 0"),
    Bad("an element of another type", INFER, tensor(data=["x"]), 422, "is not INT64", ["body", "inputs", 0, "data", 0]),
    Bad(
        "an unknown type of elements", INFER, tensor(datatype="BF16"), 422, "'BOOL'", ["body", "inputs", 0, "datatype"]
    ),
    Bad("an unknown column", INFER, tensor(name="x"), 422, "no column 'x'", ["body", "inputs", 0, "name"]),
    Bad("a tensor given twice", INFER, twice(), 422, "more than once", ["body", "inputs", 1, "name"]),
    Bad("too few tensor bytes", INFER, binary(8, b""), 400, "shorter than its tensors"),
    Bad("too many tensor bytes", INFER, binary(8, b"x" * 9), 400, "longer than its tensors"),
    Bad("a header length over the body size", INFER, binary(8, b"", length="999"), 400, "999"),
    Bad("a header length in words", INFER, binary(8, b"", length="ten"), 400, "number of bytes"),
    Bad("an unknown model", "/v2/models/nothing/infer", tensor(), 404, "no model 'nothing'; known: image"),
    Bad("an unknown version", "/v2/models/tabular/versions/9/infer", tensor(), 404, "served: v1"),
    Bad(
        "an unknown version in a header",
        "/v1/tabular/predict",
        {"json": {"instances": [ROW]}, "headers": {"X-Model-Version": "9"}},
        404,
        "served: v1",
    ),
    Bad(
        "an unknown API version",
        "/images/classify",
        {"json": {"image": "AA=="}, "headers": {"API-Version": "3"}},
        400,
        "known: 1, 2",
    ),
    Bad(
        "an unknown image model",
        "/v2/images/classify",
        {"json": {"image": "AA==", "model": "x"}},
        404,
        "no image model 'x' is served; known: image",
    ),
    Bad("details of an unknown model", "/v1/models/nothing", {}, 404, "known: image, recommender", method="GET"),
    Bad(
        "metrics of an unknown version", "/v1/models/tabular/metrics?version=9", {}, 404, "known: v1, v0", method="GET"
    ),
    Bad("metrics by an unknown filter", "/v1/models/tabular/metrics?filter=x", {}, 404, "by 'x'", method="GET"),
    Bad("an unknown training parameter", "/v1/models/tabular/params/x", {}, 404, "known: seed", method="GET"),
    Bad("an unknown query parameter", "/v1/items?colour=red", {}, 422, "Unknown query parameter", method="GET"),
    Bad("a query parameter given twice", "/v1/items?page_size=1&page_size=2", {}, 422, "more than once", method="GET"),
    Bad("an invalid page token", "/v1/items?page_token=x", {}, 422, "page_token", method="GET"),
    Bad("no users in the query", "/v1/users/recommendations?user_ids=,", {}, 400, "1 to 50 users", method="GET"),
    Bad("an unknown path", "/v1/nothing", {}, 404, "GET /v1 lists", method="GET"),
    Bad("a path with ..", "/ui/..%2f..%2fservice.py", {}, 404, "No resource", method="GET"),
    Bad("an unsupported method", PREDICT, {}, 405, "allowed: OPTIONS, POST", method="DELETE"),
    Bad("no key", PREDICT, rows(), 401, "send an API key", settings=KEYED),
    Bad("a wrong key", PREDICT, with_key("mk_wrong"), 401, "unknown or has expired", settings=KEYED),
    Bad("a key with the role read", PREDICT, with_key(KEYS["read"]), 403, "the role 'predict'", settings=KEYED),
    Bad("administration without a key", "/v1/models/tabular/reload", {}, 403, "requires an admin key"),
    Bad("a reload of an unknown version", RELOAD, reload("v9"), 404, "no version 'v9'", settings=KEYED),
    Bad("a reload of a broken version", RELOAD, reload("cut"), 409, "missing or cut", settings=KEYED),
    alias("an alias of an unknown version", "champion", {"version": "v9"}, 404, "no version 'v9'"),
    alias(
        "an alias of a broken version", "champion", {"version": "cut"}, 409, "missing or cut; the alias is unchanged"
    ),
    alias("an alias named latest", "latest", {"version": "v1"}, 422, "'latest' is not a valid alias", "alias"),
    alias("an alias in capitals", "Champion", {"version": "v1"}, 422, "at most 63 of a-z", "alias"),
    alias("an alias named like a version", "v0", {"version": "v1"}, 422, "'v0' is a version of 'tabular'", "alias"),
    alias("a forced promotion without a reason", "champion", {"version": "v1", "force": True}, 422, "force requires a"),
    alias(
        "a promotion of a worse version",
        "champion",
        {"version": "v0"},
        409,
        "tabular:v0 is not promoted to 'champion': its accuracy is 0.8000, and that of tabular:v1 is 0.9000",
        before=as_admin({"version": "v1"}),
    ),
    alias("removing an unknown alias", "champion", None, 404, "no alias 'champion' of 'tabular'; known: none", "alias"),
    Bad(
        "aliases of an unknown model",
        "/v1/models/nothing/aliases",
        as_admin(),
        404,
        "no model 'nothing' is served; served: tabular",
        method="GET",
        settings=KEYED,
    ),
    Bad(
        "one request too many", PREDICT, rows(age="x"), 429, "more than 1 requests", settings={"rate_limit": 1}, times=2
    ),
]
