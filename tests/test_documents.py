"""Examples of documents that are run."""

import doctest
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["docs/API.md"])
def test_examples_give_what_is_written(name, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  failed, tried = doctest.testfile(str(ROOT / name), module_relative=False)
  assert tried > 5 and not failed
