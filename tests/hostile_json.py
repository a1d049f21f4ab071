"""Hostile request bodies: JSON whose parsing, validation or error report costs far more than its bytes.

`CORPUS` maps a name, `<door>/<attack>`, to the content type and a function that makes the body. `PATHS` maps a door to
the path of its operation; a WebSocket takes the same bodies as `input` (see `message`). Bodies are made on demand,
because most have almost `SIZE` bytes, which is below the default limit of a body.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

SIZE: Final = 15 << 20
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data; boundary=b"

PATHS: Final = {
    "tabular": "/v1/tabular/predict",
    "recommend": "/v1/recommendations",
    "bulk": "/v1/recommendations/bulk",
    "stream": "/v1/recommendations/stream",
    "feedback": "/v1/feedback",
    "image": "/v1/images/classify",
    "infer": "/v2/models/tabular/infer",
    "infer-users": "/v2/models/recommender/infer",
    "jobs": "/v1/tabular/jobs",
    "user-jobs": "/v1/recommendations/jobs",
}


def repeated(piece: bytes, *, start: bytes = b"[", end: bytes = b"]", size: int = SIZE) -> bytes:
    """Return an array of `piece`, as often as `size` allows."""
    return start + b",".join([piece] * (size // (len(piece) + 1))) + end


def names(number: int, value: bytes = b"0") -> bytes:
    """Return the members of an object with `number` different names."""
    return b",".join(b'"a%d":%b' % (index, value) for index in range(number))


def nested(opening: bytes, closing: bytes, inner: bytes = b"0") -> bytes:
    """Return `inner` in as many containers as `SIZE` allows."""
    depth = SIZE // (len(opening) + len(closing))
    return opening * depth + inner + closing * depth


def message(body: bytes, model: str = "tabular") -> bytes:
    """Return a WebSocket message whose input is `body`."""
    return b'{"id":1,"model":"%b","input":%b}' % (model.encode(), body)


def binary_tensors(datatype: str, rows: int, data: bytes, *, name: str = "age") -> tuple[bytes, int]:
    """Return an inference request with a tensor in binary form, and the length of its JSON."""
    head = b'{"inputs":[{"name":"%b","datatype":"%b","shape":[%d],"parameters":{"binary_data_size":%d}}]}' % (
        name.encode(),
        datatype.encode(),
        rows,
        len(data),
    )
    return head + data, len(head)


def _rows(rows: bytes) -> bytes:
    return b'{"instances":%b}' % rows


def _tensor(datatype: bytes, shape: bytes, data: bytes) -> bytes:
    return b'{"inputs":[{"name":"age","datatype":"%b","shape":%b,"data":%b}]}' % (datatype, shape, data)


def _outputs(number: int) -> bytes:
    wanted = repeated(b'{"name":"probabilities"}', size=25 * number)
    tensor = b'{"name":"age","datatype":"FP64","shape":[1],"data":[1]}'
    return b'{"inputs":[%b],"outputs":%b}' % (tensor, wanted)


def _parts(number: int) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n0\r\n'
    return part * number + b"--b--\r\n"


# Values that are hostile wherever a value may be.
_VALUES: Final[dict[str, Callable[[], bytes]]] = {
    "deep-lists": lambda: nested(b"[", b"]"),
    "deep-objects": lambda: nested(b'{"a":', b"}"),
    "lists": lambda: repeated(b"[]"),
    "objects": lambda: repeated(b"{}"),
    "numbers": lambda: repeated(b"0"),
    "long-decimals": lambda: repeated(b"0.12345678901234567890123456789e-300"),
    "strings": lambda: repeated(b'""'),
    "commas-in-a-string": lambda: b'"%b"' % (b"[,{" * (SIZE // 3)),
    "escapes": lambda: b'"%b"' % (rb"\u0001" * (SIZE // 6)),
    "quotes": lambda: b'"%b"' % (rb"\"" * (SIZE // 2)),
    "long-string": lambda: b'"%b"' % (b"x" * SIZE),
    "lone-surrogates": lambda: b'"%b"' % (rb"\ud800" * (SIZE // 6)),
    "infinity": lambda: repeated(b"1e999999"),
    "digits": lambda: b"1" * 5_000_000,
    "decimals": lambda: b"0." + b"1" * 5_000_000,
    "base64": lambda: b'"%b"' % base64.b64encode(bytes(3 * SIZE // 4)),
}

CORPUS: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    **{
        f"tabular/value-{name}": (JSON, lambda make=make: _rows(b'[{"age":%b}]' % make()))  # type: ignore[misc]
        for name, make in _VALUES.items()
    },
    **{f"tabular/{name}": (JSON, make) for name, make in _VALUES.items()},
    "tabular/unknown-fields": (JSON, lambda: b"{%b}" % names(1_100_000)),
    "tabular/unknown-fields-of-a-row": (JSON, lambda: _rows(b"[{%b}]" % names(1_100_000))),
    "tabular/unknown-fields-below-the-bounds": (JSON, lambda: _rows(b"[{%b}]" % names(9_000))),
    "tabular/unknown-fields-of-each-row": (JSON, lambda: _rows(repeated(b"{%b}" % names(500), size=SIZE))),
    "tabular/small-body-of-unknown-fields": (JSON, lambda: _rows(b"[{%b}]" % names(1_500))),
    "tabular/lists-below-the-bounds": (JSON, lambda: _rows(b'[{"age":%b}]' % repeated(b"[]", size=260_000))),
    "tabular/decimals-below-the-bounds": (
        JSON,
        lambda: _rows(b'[{"age":%b}]' % repeated(b"0.12345678901234567890123456789e-300", size=14_000_000)),
    ),
    "tabular/escapes-below-the-bounds": (JSON, lambda: _rows(b'[{"age":"%b"}]' % (rb"\u0001" * 1_790_000))),
    "tabular/empty-rows": (JSON, lambda: _rows(repeated(b"{}"))),
    "tabular/thousand-empty-rows": (JSON, lambda: _rows(repeated(b"{}", size=3_000))),
    "tabular/wrong-values": (JSON, lambda: _rows(repeated(b'{"age":"x"}', size=12_000))),
    "tabular/repeated-field": (JSON, lambda: repeated(b'"instances":0', start=b"{", end=b"}")),
    "tabular/repeated-field-of-rows": (JSON, lambda: repeated(b'"instances":[{}]', start=b"{", end=b"}")),
    "tabular/spaces": (JSON, lambda: b" " * SIZE + _rows(b"[{}]")),
    "tabular/not-utf-8": (JSON, lambda: b'"%b"' % (b"\xff" * SIZE)),
    "tabular/nulls": (JSON, lambda: bytes(SIZE)),
    "tabular/truncated": (JSON, lambda: repeated(b"[]", end=b"")),
    "recommend/history": (JSON, lambda: b'{"user_id":"1","history":%b}' % repeated(b"0")),
    "recommend/unknown-fields": (JSON, lambda: b'{"user_id":"1",%b}' % names(1_100_000)),
    "recommend/features": (JSON, lambda: b'{"user_id":"1","user_features":{%b}}' % names(900_000, b"[0]")),
    "recommend/features-below-the-bounds": (
        JSON,
        lambda: b'{"user_id":"1","user_features":{%b}}' % names(900, b"[0,0]"),
    ),
    "recommend/category-caps": (JSON, lambda: b'{"user_id":"1","category_caps":{%b}}' % names(1_000_000, b'""')),
    "bulk/users": (JSON, lambda: b'{"user_ids":%b}' % repeated(b"[]")),
    "bulk/per-user": (JSON, lambda: b'{"user_ids":["1"],"per_user":{%b}}' % names(800_000, b"{}")),
    "bulk/histories": (
        JSON,
        lambda: b'{"user_ids":["1"],"per_user":{%b}}' % names(1_000, b'{"history":[%b]}' % b",".join([b"1"] * 190)),
    ),
    "stream/users": (JSON, lambda: b'{"user_ids":%b}' % repeated(b'""')),
    "feedback/events": (JSON, lambda: b'{"events":%b}' % repeated(b"{}")),
    "feedback/thousand-empty-events": (JSON, lambda: b'{"events":%b}' % repeated(b"{}", size=3_000)),
    "feedback/unknown-fields": (JSON, lambda: b'{"events":[{%b}]}' % names(1_100_000)),
    "image/unknown-fields": (JSON, lambda: b"{%b}" % names(1_100_000)),
    "image/base64": (JSON, lambda: b'{"image":"%b"}' % base64.b64encode(bytes(3 * SIZE // 4 - 9))),
    "image/fields": (FORM, lambda: b"&".join([b"a=0"] * (SIZE // 4))),
    "image/parts": (MULTIPART, lambda: _parts(SIZE // 60)),
    "image/boundaries": (MULTIPART, lambda: b"--b\r\n" + b"\r\n--c" * (SIZE // 6)),
    "infer/numbers": (JSON, lambda: _tensor(b"FP64", b"[7800000]", repeated(b"0"))),
    "infer/numbers-below-the-bounds": (JSON, lambda: _tensor(b"FP64", b"[400000]", repeated(b"0", size=800_000))),
    "infer/nulls-below-the-bounds": (JSON, lambda: _tensor(b"FP32", b"[400000]", repeated(b"null", size=2_000_000))),
    "infer/last-number-is-text": (
        JSON,
        lambda: _tensor(b"INT64", b"[399001]", repeated(b"0", end=b',"x"]', size=798_000)),
    ),
    "infer/lists-below-the-bounds": (JSON, lambda: _tensor(b"FP64", b"[1]", repeated(b"[]", size=260_000))),
    "infer/strings-below-the-bounds": (JSON, lambda: _tensor(b"BYTES", b"[400000]", repeated(b'"a"', size=1_600_000))),
    "infer/nested": (JSON, lambda: _tensor(b"FP64", b"[1]", repeated(b"[[[[[[[0]]]]]]]"))),
    "infer/strings": (JSON, lambda: _tensor(b"BYTES", b"[5000000]", repeated(b'""'))),
    "infer/long-string": (JSON, lambda: _tensor(b"BYTES", b"[1]", b'["%b"]' % (b"x" * SIZE))),
    "infer/inputs": (
        JSON,
        lambda: b'{"inputs":%b}' % repeated(b'{"name":"a","datatype":"FP64","shape":[0],"data":[]}'),
    ),
    "infer/outputs": (JSON, lambda: _outputs(500_000)),
    "infer/outputs-below-the-bounds": (JSON, lambda: _outputs(20_000)),
    "infer/parameters": (JSON, lambda: b'{"parameters":{%b},"inputs":[]}' % names(1_100_000)),
    "infer-users/users": (
        JSON,
        lambda: b'{"inputs":[{"name":"user_id","datatype":"BYTES","shape":[3900000],"data":%b}]}' % repeated(b'"1"'),
    ),
    "jobs/unknown-fields": (NDJSON, lambda: b"".join(b"{%b}\n" % names(90_000) for _ in range(6))),
    "jobs/lists": (NDJSON, lambda: b"".join(b'{"age":%b}\n' % repeated(b"[]", size=1_000_000) for _ in range(6))),
    "jobs/deep-lists": (NDJSON, lambda: b'{"age":%b}\n' % (b"[" * 900 + b"]" * 900) * 200),
    "jobs/long-strings": (NDJSON, lambda: b'{"age":"%b"}\n' % (b"x" * 1_000_000) * 64),
    "jobs/digits": (NDJSON, lambda: b'{"age":%b}\n' % (b"1" * 1_000_000) * 6),
    "user-jobs/unknown-fields": (NDJSON, lambda: b"".join(b"{%b}\n" % names(90_000) for _ in range(6))),
    "user-jobs/histories": (
        NDJSON,
        lambda: b"".join(b'{"user_id":"%d","history":%b}\n' % (n, repeated(b'"1"', size=4_000)) for n in range(64)),
    ),
}
