"""The protocol of TensorFlow Serving over plain HTTP."""

import gzip
import json
import types

import numpy as np
import pytest
import requests

from adaptive_stem_tf.serving import servables
from tests import tiny
from tests.unit.serving.stubs import arrays, partial, post, predict, state_of


def test_rows_and_columns_over_http_equal_grpc(served):
  expected = arrays(predict(served, {"partial_scan": partial()}))["completion"]
  rows = post(served, {"instances": partial().tolist()}).json()["predictions"]
  columns = post(served, {"inputs": partial().tolist(), "signature_name": "complete"}).json()[
    "outputs"
  ]
  named = post(served, {"inputs": {"partial_scan": partial().tolist()}}).json()["outputs"]
  for values in (rows, columns, named):
    np.testing.assert_allclose(np.array(values), expected, atol=1e-5)


def test_several_tensors_travel_in_rows_and_columns(served):
  started = post(served, {"signature_name": "start", "inputs": [0, 1, 2]}).json()["outputs"]
  observation = np.full([3, tiny.PROBES], 0.25).tolist()
  columns = {"observation": observation, **state_of(started)}
  stepped = post(served, {"signature_name": "step", "inputs": columns}).json()["outputs"]
  rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
  answered = post(served, {"signature_name": "step", "instances": rows}).json()["predictions"]
  assert len(answered) == 3 and set(answered[0]) == set(stepped)
  for name, values in stepped.items():
    np.testing.assert_allclose([row[name] for row in answered], values, atol=1e-6)


@pytest.mark.parametrize(
  "body",
  [
    b"",
    b"{",
    b"[]",
    b"{}",
    b'{"instances": []}',
    b'{"instances": ["x"]}',
    b'{"instances": [[1, 2], [3]]}',
    b'{"inputs": {"image": [1]}}',
    b'{"inputs": [1], "instances": [1]}',
    b'{"signature_name": 1, "instances": [1]}',
    b'{"signature_name": "guess", "instances": [1]}',
    b'{"signature_name": "step", "instances": [1]}',
    b'{"signature_name": "start", "instances": [9223372036854775808]}',
    b'{"signature_name": "start", "instances": [true]}',
    b'{"signature_name": "start", "instances": [1.0]}',
    b'{"instances": ' + b"[" * 100_000,
  ],
)
def test_malformed_json_is_refused(served, body):
  response = requests.post(f"{served.rest}/v1/models/lstm:predict", data=body, timeout=60)
  assert response.status_code == 400 and response.json()["error"]


@pytest.mark.parametrize(
  "name, value",
  [
    ("observation", True),
    ("observation", 2**24 + 1),
    ("observation", 1e39),
    ("observation", None),
    ("observation", "0.5"),
    ("state_segment", 2**32 + 1),
    ("state_segment", -(2**31) - 1),
    ("state_segment", False),
    ("state_segment", 0.5),
  ],
)
def test_numbers_that_a_type_cannot_hold_are_refused(served, name, value):
  started = post(served, {"signature_name": "start", "inputs": [0]}).json()["outputs"]
  columns = {"observation": [[0.25] * tiny.PROBES], **state_of(started)}
  ask = lambda: post(served, {"signature_name": "step", "inputs": columns})
  assert ask().ok
  columns[name] = [[value] + [0.25] * (tiny.PROBES - 1)] if name == "observation" else [value]
  refusal = ask()
  assert refusal.status_code == 400 and refusal.json()["error"]


@pytest.mark.parametrize(
  "path, code",
  [
    ("nobody", 404),
    ("lstm/versions/9", 404),
    ("lstm/labels/beta", 400),
    ("lstm/versions/x", 400),
    ("lstm/versions/99999999999999999999", 400),
  ],
)
def test_http_says_what_is_unknown(served, path, code):
  response = post(served, {"instances": partial().tolist()}, path)
  assert response.status_code == code and response.json()["error"]
  if "labels" not in path:  # which the status ignores
    response = requests.get(f"{served.rest}/v1/models/{path}", timeout=60)
    assert response.status_code == code and response.json()["error"]


@pytest.mark.parametrize(
  "method, path, code",
  [
    ("GET", "/", 404),
    ("GET", "/v2/models/lstm", 404),
    ("POST", "/models/lstm:predict", 404),
    ("GET", "/v1/models", 400),
    ("GET", "/v1/nothing", 400),
    ("POST", "/v1/models/lstm:guess", 400),
    ("POST", "/v1/models/lstm:classify", 400),
    ("POST", "/v1/models/lstm:regress", 400),
    ("POST", "/v1/models/lstm", 400),
    ("PUT", "/v1/models/lstm:predict", 400),
    ("DELETE", "/v1/models/lstm", 400),
  ],
)
def test_paths_and_methods_that_there_are_not(served, method, path, code):
  body = json.dumps({"instances": partial().tolist()})
  response = requests.request(method, served.rest + path, data=body, timeout=60)
  assert response.status_code == code


def test_bodies_may_be_chunked_and_zipped(served):
  url = f"{served.rest}/v1/models/lstm:predict"
  body = json.dumps({"inputs": partial().tolist()}).encode()
  expected = requests.post(url, data=body, timeout=60).json()
  chunks = (body[i : i + 700] for i in range(0, len(body), 700))
  assert requests.post(url, data=chunks, timeout=60).json() == expected
  zipped = {"Content-Encoding": "gzip"}
  answer = requests.post(url, data=gzip.compress(body), headers=zipped, timeout=60)
  assert answer.json() == expected
  for wrong in (b"no gzip", gzip.compress(body)[:-9]):
    assert requests.post(url, data=wrong, headers=zipped, timeout=60).status_code == 400


def test_columns_that_are_not_known_are_ignored(served):
  body = {"inputs": {"partial_scan": partial().tolist(), "more": [1]}}
  assert post(served, body).ok


def test_an_empty_batch_has_an_empty_answer(served):
  answer = arrays(predict(served, {"partial_scan": partial(2)[:0]}))
  assert answer["completion"].shape == (0, tiny.SIZE, tiny.SIZE, 1)


def test_an_empty_batch_is_not_run(exports):
  """oneDNN's convolutions fail on it; the answer has the shapes of that to zeros."""
  version, ran = servables.Version(exports("lstm")), []
  signatures = version._loaded.signatures

  def complete(partial_scan):
    """Records the batch."""
    ran.append(len(partial_scan))
    return signatures["complete"](partial_scan=partial_scan)

  version._loaded = types.SimpleNamespace(signatures={"complete": complete})
  answer = version.predict("complete", {"partial_scan": partial(2)[:0]})
  whole = version.predict("complete", {"partial_scan": partial(2)})
  assert ran == [1, 2]
  assert {name: value.shape[1:] for name, value in answer.items()} == {
    name: value.shape[1:] for name, value in whole.items()
  }
  assert not any(map(len, answer.values()))
