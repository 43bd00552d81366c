"""Stands for Nion Swift: a scan device that answers with where its beam was, and a controller."""

import math
import types

import numpy as np


class Device:
  """Answers row + 1000 column of each px of a frame, in px of the context that it is given.

  The geometry is that of Swift's subscans: a frame is turned by minus `subscan_rotation` around its
  centre, in fractions of the context.

  Args:
    widest: nm that it covers.
    fault: "bad", "late", "breaks" or "shape", at the second frame.
  """

  channel_count = 3

  def __init__(self, widest=1000.0, fault=None):
    self.widest, self.fault = widest, fault
    self.channels_enabled = (False, True, False)
    self.current_frame_parameters: dict = {"of": "somebody"}
    self.is_scanning, self.cancelled = False, False
    self.frames: list[dict] = []
    self._buffer = np.zeros([1, 64])
    self.parked: list[tuple[float, float]] = []
    self.blanked = lambda: None
    self.lit: list[bool] = []  # of each frame

  def calculate_max_field_of_view(self, parameters):
    return self.widest

  def set_channel_enabled(self, index, enabled):
    self.channels_enabled = tuple(
      enabled if index == other else before for other, before in enumerate(self.channels_enabled)
    )
    assert any(self.channels_enabled)
    return True

  def set_frame_parameters(self, parameters):
    self.current_frame_parameters = parameters

  def start_frame(self, is_continuous):
    self.frames.append(self.current_frame_parameters)
    self.lit.append(not self.blanked())
    return len(self.frames)

  def read_partial(self, number, skip):
    fault = self.fault if number == 2 else None
    if fault == "breaks":
      raise RuntimeError("no such frame")
    values = self._values(self.frames[-1])
    complete = skip > 0 and fault != "late"
    data = self._buffer[:, : values.shape[1] - (fault == "shape")]  # that later frames use again
    data[:] = np.where(complete | (np.arange(values.shape[1]) < 1), values, 0)[:, : data.shape[1]]
    return [{"data": data}], complete, fault == "bad", ((0, 0), (1, 1)), number, skip + 1

  def cancel(self):
    self.cancelled = True

  def stop(self):
    pass

  def set_idle_position_by_percentage(self, x, y):
    self.parked.append((x, y))

  def _values(self, frame):
    rows, columns = frame["subscan_pixel_size"]
    height, width = frame["subscan_fractional_size"]
    assert rows == 1 and height > 0 and math.isclose(height * columns, width)
    size, angle = frame["pixel_size"][0], -frame["subscan_rotation"]
    along = ((np.arange(columns) + 0.5) / columns - 0.5) * width
    row, column = frame["subscan_fractional_center"]
    return (
      size
      * ((row + along * math.sin(angle)) + 1000 * (column + along * math.cos(angle)))[None].copy()
    )


class Controller:
  """The controls of an instrument: a blanker, if it has one."""

  def __init__(self, confirms=True):
    self.confirms = confirms
    self.controls = {"C_Blank": 0.0}

  def SetValAndConfirm(self, name, value, tolerance, timeout):  # noqa: N802 - Swift's name
    self.controls[name] = value
    return self.confirms


def instrument(confirms=True, **settings):
  """Returns a device, a controller, and both as they are handed over."""
  device, controller = Device(**settings), Controller(confirms)
  device.blanked = lambda: controller.controls["C_Blank"] == 1.0
  return types.SimpleNamespace(device=device, controller=controller)
