"""The two READMEs: in step with each other, with the lessons and with the notes."""

import re
import unicodedata
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from collection import NAMES, ROOT

README = ROOT / "README.md"
KOREAN = ROOT / "README.ko.md"
BOTH = pytest.mark.parametrize("file", [README, KOREAN], ids=["en", "ko"])
# Every heading of the notes, in their order, and the lesson it leads to.
HEADINGS = {
    "flask": "01_hello",
    "app": "01_hello",
    "decorater": "01_hello",
    "route": "01_hello",
    "argument": "02_route_args",
    "methods": "02_route_args",
    "errorhandler": "03_errorhandler",
    "before_first_request": "04_hooks",
    "before_request": "04_hooks",
    "after_request": "04_hooks",
    "run": "01_hello",
    "response_class": "06_jsonify",
    "logger": "05_logger",
    "jsonify": "06_jsonify",
    "request": "07_request_args",
    "args": "07_request_args",
    "files": "08_inference",
    "from": "08_inference",
    "e.g.": "08_inference",
}
ERRATA = "Where the lessons differ from the notes"
# The notes belong to the readers: they lie beside this repository or nowhere.
NOTES = ROOT.parent / "shared" / "notes.md"


# --- Reading Markdown, as much of it as the READMEs use.


def sections(file):
    """The file cut at its headings: title, level, prose, code and table of each."""
    found, fenced = [], False
    for line in file.read_text(encoding="utf-8").splitlines():
        heading = re.fullmatch(r"(#+) (.*)", line)
        if heading and not fenced:
            level, title = len(heading[1]), heading[2]
            found.append(
                SimpleNamespace(title=title, level=level, prose=[], code=[], table=[])
            )
        elif line.startswith("```"):
            fenced = not fenced
            found[-1].code.append(line)
        elif fenced:
            found[-1].code.append(line)
        elif line.startswith("|"):
            found[-1].table.append([cell.strip() for cell in line[1:-1].split(" | ")])
        elif line.strip():
            found[-1].prose.append(line)
    assert not fenced, f"{file.name}: a code block does not end"
    return found


def table(file, title):
    """The rows of the table in the section of this title, without its head."""
    section = next(section for section in sections(file) if section.title == title)
    return section.table[2:]


def code_in(text):
    """The code in a text; where a line was wrapped inside of it, a space."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


def links_in(text):
    """The targets of the links, without what follows a "#"."""
    return re.findall(r"\]\(([^)#]+)[^)]*\)", re.sub(r"`[^`]*`", "", text))


def figures_in(text):
    """The numbers outside of code and link targets, as they are written."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text)
    return Counter(re.findall(r"\d+(?:[.,:]\d+)*", text))


def width(line):
    """The columns that a line takes: Korean letters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def notes_sections():
    """The real notes, heading -> its lines down to the next heading."""
    if not NOTES.exists():
        pytest.skip("the notes do not lie beside this repository")
    found, fenced = {}, False
    for line in NOTES.read_text(encoding="utf-8").splitlines():
        fenced ^= line.lstrip(" >").startswith("```")
        heading = re.fullmatch(r"#+ (.+?)\s*", line)
        if heading and not fenced:
            title = heading[1]
            assert title not in found
            found[title] = ""
        found[title] += line + "\n"
    return found


def notes_section(title):
    return notes_sections()[title]


# --- The lessons and the notes.


def lesson_rows(file):
    """The table of lessons: lesson -> its row as one text."""
    rows = {}
    for section in sections(file):
        for row in section.table[2:]:
            for link in links_in(row[0]) + links_in(row[1]):
                if Path(link).stem in NAMES and Path(link).suffix == ".py":
                    rows.setdefault(Path(link).stem, " | ".join(row))
    return rows


def names_heading(heading, text):
    return re.search(rf"(?<![\w.]){re.escape(heading)}(?!\w)", text) is not None


def test_headings_are_those_of_the_notes():
    assert list(notes_sections()) == list(HEADINGS)


def test_every_lesson_serves_the_notes():
    assert set(HEADINGS.values()) == set(NAMES)


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_heading_leads_to_its_lesson(heading):
    name = HEADINGS[heading]
    text = (ROOT / f"{name}.py").read_text(encoding="utf-8")
    notes_line = re.search(r"^Notes  (.*)$", text, re.MULTILINE)[1]
    assert names_heading(heading, notes_line), f"{name}.py: {notes_line}"
    for file in (README, KOREAN):
        row = lesson_rows(file)[name]
        assert names_heading(heading, row), f"{file.name}: {row}"


@BOTH
def test_every_lesson_has_its_row_in_order(file):
    rows = lesson_rows(file)
    assert list(rows) == NAMES
    for name, row in rows.items():
        assert {f"{name}.py", f"scripts/{name}.sh"} <= set(links_in(row))


@BOTH
def test_one_sentence_per_lesson_in_the_order_of_the_notes(file):
    """Who reads the notes from top to bottom meets every lesson and every heading."""
    titles = [section.title for section in sections(README)]
    section = sections(file)[titles.index("Reading along with the notes")]
    said = {}
    for item in re.findall(r"^- .*(?:\n  .*)*", "\n".join(section.prose), re.MULTILINE):
        number = re.search(r"\d", item)[0]
        assert number not in said
        said[number] = re.findall(r'"([^"]+)"', item)
    first = {}
    for heading, name in HEADINGS.items():
        assert heading in said[name[1]], f"{heading} is not with lesson {name[1]}"
        first.setdefault(name[1], heading)
    assert list(said) == list(first)


# --- Each README by itself.


@BOTH
def test_links_lead_somewhere(file):
    for link in links_in(file.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            assert (ROOT / link).exists(), link


@BOTH
def test_lines_are_wrapped(file):
    for section in sections(file):
        for line in section.prose:
            assert width(line) <= 88 or links_in(line), line


def test_korean_is_polite():
    """합니다체 throughout: no sentence ends in a plain -다."""
    text = "\n".join(
        line
        for section in sections(KOREAN)
        for line in section.prose + [cell for row in section.table for cell in row]
    )
    assert not re.findall(r"\S*(?<!니)다[.:;]", text)


# --- English and Korean in step.


def test_same_sections():
    english, korean = sections(README), sections(KOREAN)
    assert [one.level for one in english] == [one.level for one in korean]


def pairs():
    return list(zip(sections(README), sections(KOREAN), strict=True))


def test_same_commands():
    for english, korean in pairs():
        assert english.code == korean.code, english.title


def test_same_prose():
    """The same paragraphs' code, links and figures, section by section."""
    swap = {"README.md": "README.ko.md", "README.ko.md": "README.md"}
    for english, korean in pairs():
        ours, theirs = "\n".join(english.prose), "\n".join(korean.prose)
        assert Counter(code_in(ours)) == Counter(code_in(theirs)), english.title
        assert Counter(swap.get(link, link) for link in links_in(ours)) == Counter(
            links_in(theirs)
        ), english.title
        assert figures_in(ours) == figures_in(theirs), english.title


def test_same_marks():
    """Each English mark of the errata has one Korean mark, in every row."""
    english = next(one for one, _ in pairs() if one.title == ERRATA)
    korean = sections(KOREAN)[sections(README).index(english)]
    marks = {(one[1], two[1]) for one, two in zip(english.table, korean.table)}
    assert (
        len(marks) == len({one for one, _ in marks}) == len({two for _, two in marks})
    )


def test_same_tables():
    for english, korean in pairs():
        assert len(english.table) == len(korean.table), english.title
        for ours, theirs in zip(english.table, korean.table, strict=True):
            assert len(ours) == len(theirs), theirs
            for one, other in zip(ours, theirs, strict=True):
                assert code_in(one) == code_in(other), theirs
                assert links_in(one) == links_in(other), theirs
                assert figures_in(one) == figures_in(other), theirs
                assert one.count("*") == other.count("*"), theirs
