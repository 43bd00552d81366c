"""Nion Swift's simulated microscope, uSim: an instrument by others, to test ours against."""

import numpy as np

from adaptive_stem_tf.serving.live import microscope, nion_swift

# uSim draws its flakes in whole px of the requested frame, up and to the left: half a pitch away in
# a line. It draws the surroundings of a line of n px only as far as 0.21 n px and answers 0 beyond:
# at the ends of lines steeper than 24 degrees. Frames of one tiny px have neither fault.
_HANDLING = nion_swift.Handling(lines=(1,))
_RASTER = 1024  # px, side of the frame that shows the specimen


def instrument() -> nion_swift.Instrument:
  """Returns uSim without its windows and cameras; the cameras' threads would outlive a scan.

  Raises:
    MicroscopeError: if it is not installed.
  """
  try:
    from nion.usim_device import InstrumentDevice, ScanDevice
  except ImportError as error:
    raise microscope.MicroscopeError(
      "Nion Swift's simulated microscope needs nionswift-usim, and that Python 3.11 or newer: pip "
      "install nionswift-usim (extra `nionswift`)."
    ) from error
  controller = InstrumentDevice.Instrument(
    "usim_stem_controller",
    InstrumentDevice.ValueManager(),
    InstrumentDevice.AxisManager(),
    InstrumentDevice.ScanDataGenerator(),
  )
  module = ScanDevice.ScanModule(controller)
  settings = module.settings
  return nion_swift.Instrument(module.device, settings.get_frame_parameters_from_dict, controller)


def scope(
  simulated: nion_swift.Instrument, field: nion_swift.SwiftField, dwell: float = 10.0
) -> nion_swift.NionSwift:
  """Returns the microscope.

  Raises:
    ValueError: as `NionSwift`.
    MicroscopeError: as `NionSwift`.
  """
  return nion_swift.NionSwift(simulated, field, dwell, _HANDLING)


def specimen(
  simulated: nion_swift.Instrument, field: nion_swift.SwiftField, dwell: float = 10.0
) -> np.ndarray:
  """Returns the field [size, size] as uSim itself rasters it, in the units of a scan with `dwell`.

  A pixel is the mean of a square of finer ones, so that there is less noise than in a scan. On a
  real specimen nobody would spend that dose.
  """
  finer = max(1, _RASTER // field.size)
  side = field.size * finer
  simulated.device.set_frame_parameters(
    simulated.parameters(
      {
        "pixel_size": (side, side),
        "fov_nm": field.width_nm,
        "center_nm": field.centre_nm,
        "pixel_time_us": 1.0,
      }
    )
  )
  number, skip, complete = simulated.device.start_frame(False), 0, False
  while not complete:
    elements, complete, _, _, number, skip = simulated.device.read_partial(number, skip)
  simulated.device.stop()
  fine = np.asarray(elements[0]["data"], np.float64)
  return dwell * fine.reshape(field.size, finer, field.size, finer).mean((1, 3))
