"""Documents: their examples run, and their links lead somewhere."""

import doctest
import pathlib
import re

import pytest

import adaptive_stem_tf

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("savedmodels/**/*.md")])
_CODE = re.compile(r"^(```.*?^```|(?: {4}[^\n]*\n)+)|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@pytest.mark.parametrize("name", ["docs/API.md", "docs/MICROSCOPES.md", "docs/POLICIES.md"])
def test_examples_give_what_is_written(name, monkeypatch, tmp_path, eagerly):
  monkeypatch.chdir(tmp_path)
  failed, tried = doctest.testfile(str(ROOT / name), module_relative=False)
  assert tried > 5 and not failed


def links(page):
  """Returns what a page links to within the project."""
  targets = _LINK.findall(_CODE.sub("", page.read_text()))
  return [target for target in targets if not target.startswith(("https://", "http://"))]


def anchors(page):
  """Returns the anchors of a page: of headings, as MkDocs and GitHub make them, and its own."""
  text = page.read_text()
  titles = [title.lower().replace("`", "") for title in _HEADING.findall(text)]
  of_headings = {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title).strip()) for title in titles}
  return of_headings | set(re.findall(r'<a id="([^"]+)"></a>', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
  for target in links(page):
    name, _, anchor = target.partition("#")
    linked = (page.parent / name).resolve() if name else page
    assert linked.exists(), f"{target}: there is no {linked.relative_to(ROOT)}"
    assert not anchor or anchor in anchors(linked), f"{target}: no such heading"


def test_the_tests_that_pages_name_exist():
  """A test stands in a file that the same paragraph or row names, if that names files at all."""
  tests = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
  named = 0
  for page in PAGES:
    for part in re.split(r"\n\n|\n(?=\|)", page.read_text()):
      files = [pathlib.PurePath(file).name for file in re.findall(r"\b[\w/]*test_\w+\.py\b", part)]
      assert not set(files) - set(tests), f"{page}: {files}"
      texts = [tests[file] for file in files] or list(tests.values())
      for name in re.findall(r"`(test_\w+)`", part):
        assert any(f"def {name}(" in text for text in texts), f"{page}: {name}"
        named += 1
  assert named > 50


def test_the_start_page_links_every_page():
  linked = {(ROOT / target.partition("#")[0]).resolve() for target in links(ROOT / "README.md")}
  pages = {page.resolve() for page in ROOT.glob("docs/*.md")}
  assert len(pages) > 10 and not pages - linked


def test_the_start_page_is_two_screens():
  lines = (ROOT / "README.md").read_text().splitlines()
  assert 60 < len(lines) <= 110
  assert max(len(line) for line in lines if not line.startswith(("|", "!["))) <= 120


def test_the_reference_has_every_room():
  reference = "".join(page.read_text() for page in ROOT.glob("docs/reference/*.md"))
  library = ROOT / "adaptive_stem_tf"
  modules = {path.stem for path in library.glob("*.py")} - {"__init__"}
  rooms = {path.parent.name for path in library.glob("*/__init__.py")}
  assert modules | rooms == set(re.findall(r"^::: adaptive_stem_tf\.(\w+)", reference, re.M))


def test_model_cards_have_one_form():
  cards = sorted(ROOT.glob("savedmodels/adaptive_*/README.md"))
  sections = [re.findall(r"^## (.*)$", card.read_text(), re.M) for card in cards]
  assert len(cards) >= 2
  assert sections == [["Data", "Training", "Numbers", "Limits", "Licence"]] * len(cards)


def test_the_version_is_everywhere_the_same():
  cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)[1]
  changes = re.search(r"^## (\d\S*),", (ROOT / "CHANGELOG.md").read_text(), re.M)[1]
  assert cited == changes == adaptive_stem_tf.__version__
