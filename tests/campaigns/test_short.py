"""The campaigns, in short forms: what has to be 0 is 0."""

from tests.campaigns import files, peer, requests


def test_a_beam_stays_in_its_field_whatever_the_peer_does():
  found = peer.run(24, seed=1)
  assert not {"lit_outside", "left_on", "wrong", "lost", "broken"} & set(found), found
  assert found["kept"] + found["whole"] > 5


def test_malformed_requests_are_refused_and_valid_ones_answered():
  found = requests.run(150, seed=1)
  assert not {"wrong", "internal", "dropped"} & set(found), found
  assert found["refused"] > 50


def test_damaged_files_are_told(tmp_path):
  for counts in files.run_config(6, 1, tmp_path).values():
    assert not [result for result in counts if result.startswith(("silent", "traceback"))], counts
