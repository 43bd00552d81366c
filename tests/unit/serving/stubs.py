"""Requests to a server by TensorFlow Serving's own stubs and by plain HTTP."""

import json

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_service_pb2_grpc

from tests import tiny


def spec(name="lstm", version=None, label=None, signature=""):
  made = model_pb2.ModelSpec(name=name, signature_name=signature)
  if version is not None:
    made.version.value = version
  if label:
    made.version_label = label
  return made


def predict(served, inputs, **which):
  request = predict_pb2.PredictRequest(model_spec=spec(**which))
  for name, value in inputs.items():
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
  return send(served, request)


def send(served, request):
  with grpc.insecure_channel(served.grpc) as channel:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)


def arrays(response):
  return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


def state_of(answer):
  return {name: value for name, value in answer.items() if name.startswith("state_")}


def partial(batch=2):
  return (
    np.random.default_rng(0).uniform(-1, 1, [batch, tiny.SIZE, tiny.SIZE, 2]).astype(np.float32)
  )


def post(served, body, path="lstm"):
  return requests.post(f"{served.rest}/v1/models/{path}:predict", data=json.dumps(body), timeout=60)
