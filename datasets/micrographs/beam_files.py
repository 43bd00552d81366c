"""Reads the files of the data set on Apache Beam, whose workers share nothing but the files.

    files -> read -> compare in pairs of groups of files -> decide -> examples of each split
               |                                              |         and the report
               +----------------------------------------------+

Files are read once, in parallel. Pairs of groups of files are compared in parallel by signatures
(adaptive_stem_tf.micrographs.distinct). One worker then goes through the pairs of files that have
something in common; it holds no image. What is kept equals what one process keeps.
"""

import math
from collections.abc import Sequence

import apache_beam as beam

from adaptive_stem_tf.micrographs import distinct

from . import files

_FILES_PER_PAIR = 400  # pairs of groups grow in proportion to files, groups with their root


class BeamFiles:
  """The examples of a data set; all splits share one graph, so that files are read once.

  Args:
    reader: of the files.
    sources: the files of all splits.
    report: file to write the report to.
  """

  def __init__(self, reader: files.Reader, sources: Sequence[files.Source], report: str):
    self._reader, self._sources, self._report = reader, list(sources), report
    self._files = None

  def split(self, name: str) -> beam.PTransform:
    """Returns a transform from a pipeline to (key, features) of the examples of a split."""
    return _Split(self, name)

  def examples(self, pipeline: beam.Pipeline, split: str) -> beam.PCollection:
    """Returns (key, features) of the examples of a split, in the pipeline of the other splits."""
    if self._files is None:
      self._files = self._distinct_files(pipeline)
    return (
      self._files
      | f"Only{split}" >> beam.Filter(lambda file: file.source.split == split)
      | f"Examples{split}" >> beam.FlatMap(self._reader.examples)
    )

  def _distinct_files(self, pipeline):
    """Returns what is kept of every file, and reports it."""
    # The files are dealt out anew, as some runners would read all of a list on one worker.
    read = (
      pipeline
      | "Sources" >> beam.Create(self._sources)
      | "Deal" >> beam.Reshuffle()
      | "Read" >> beam.Map(self._reader.read)
    )
    by_name = read | "ByName" >> beam.Map(lambda file: (file.source.name, file))
    joined = {"file": by_name, "decision": self._decisions(read)} | beam.CoGroupByKey()
    reader, report = self._reader, self._report
    kept = joined | "Without" >> beam.MapTuple(
      lambda _, parts: reader.without(next(iter(parts["file"])), parts["decision"])
    )
    _ = (
      kept
      | "Entries" >> beam.Map(reader.entry)
      | "AllEntries" >> beam.combiners.ToList()
      | "Report" >> beam.Map(lambda entries: files.write_report(reader, report, entries))
    )
    return kept

  def _decisions(self, read):
    """Returns the names of files that lose something, and what."""
    num_groups = max(1, round(math.sqrt(2 * len(self._sources) / _FILES_PER_PAIR)))
    return (
      read
      | "Signatures" >> beam.FlatMap(self._reader.compared_by)
      | "Groups"
      >> beam.FlatMap(
        lambda file: [(pair, file) for pair in distinct.groups(file.order, num_groups)]
      )
      | "Pairs" >> beam.GroupByKey()
      | "Compare" >> beam.FlatMapTuple(lambda pair, f: distinct.compare(pair, f, num_groups))
      | "AllAlike" >> beam.combiners.ToList()
      | "Decide" >> beam.FlatMap(lambda alike: distinct.decide(alike).items())
    )


class _Split(beam.PTransform):
  """The examples of one split."""

  def __init__(self, beam_files, name):
    super().__init__()
    self._files, self._name = beam_files, name

  def expand(self, begin):
    """Returns the split's (key, features)."""
    return self._files.examples(begin.pipeline, self._name)
