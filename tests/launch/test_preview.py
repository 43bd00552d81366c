"""python -m launch.preview."""

from PIL import Image

from tests.launch import commands


def test_a_contact_sheet_is_drawn(tmp_path):
  file = tmp_path / "new" / "sheet.png"
  ended = commands.launch("preview", f"--output={file}", "--columns=1")
  assert ended.code == 0 and str(file) in ended.out
  width, height = Image.open(file).size
  assert height > 3 * width > 100  # a row for each kind


def test_unknown_configurations_are_refused(tmp_path):
  ended = commands.launch("preview", f"--output={tmp_path / 'sheet.png'}", "--config=crops")
  assert ended.code == 1 and "Unknown configuration 'crops'; choose one of" in ended.err
