"""The pages: English and Korean in step, and both in step with lessons and scripts."""

import re
import subprocess
import sys
from collections import Counter
from itertools import groupby
from typing import NamedTuple

import pytest
from collection import ENVIRONMENT, LESSONS, MISTAKES, NAMES, ROOT
from play import holds, read_script

README = ROOT / "README.md"
README_KO = ROOT / "README.ko.md"
COMPANION = ROOT / "docs" / "notes.md"
COMPANION_KO = ROOT / "docs" / "notes.ko.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
SCRIPTS = sorted(ROOT.glob("scripts/[0-9][0-9]_*.sh"))


# The headings of the notes, spelled as there.
HEADINGS = (
    "flask app decorater route argument methods errorhandler before_first_request "
    "before_request after_request run response_class logger jsonify request args files "
    "from e.g."
).split()
NUMBERS = range(1, 35)
MARKS = {
    "Does not work": "동작 안 함",
    "Unsafe": "위험",
    "Misleading": "오해 소지",
}

both_languages = pytest.mark.parametrize(
    "english, korean",
    [(README, README_KO), (COMPANION, COMPANION_KO)],
    ids=["README", "notes"],
)
every_page = pytest.mark.parametrize(
    "page",
    sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/*.md")]),
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
korean_page = pytest.mark.parametrize(
    "page", [README_KO, COMPANION_KO], ids=lambda page: page.name
)
both_readmes = pytest.mark.parametrize("page", [README, README_KO], ids=["en", "ko"])
both_companions = pytest.mark.parametrize(
    "page", [COMPANION, COMPANION_KO], ids=["en", "ko"]
)
every_lesson_and_script = pytest.mark.parametrize(
    "file", [*LESSONS, *SCRIPTS], ids=lambda file: file.name
)
every_script = pytest.mark.parametrize(
    "script", SCRIPTS, ids=lambda script: script.stem
)


# --- Reading the pages.

BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def read(page):
    return page.read_text(encoding="utf-8")


def code_blocks(text):
    return BLOCK.findall(text)


def without_blocks(text):
    return BLOCK.sub("", text)


def code_in(text):
    """The code between backquotes; a line break in it is a space."""
    return [" ".join(code.split()) for code in re.findall("`([^`]+)`", text)]


def links_in(text):
    """The targets of all links and pictures, without what is between backquotes."""
    return re.findall(r"\]\(([^)]+)\)", re.sub("`[^`]+`", "", text))


class Section(NamedTuple):
    level: int
    title: str
    text: str


def sections(page):
    """Every heading with the text below it, up to the next heading; no code blocks."""
    found = []
    text = without_blocks(read(page))
    for part in re.split(r"^(?=#+ )", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        marks, _, title = heading.partition(" ")
        found.append(Section(len(marks), title, body))
    return found


def section(page, wanted):
    """The text below one heading, with its code blocks."""
    _, _, rest = read(page).partition(f"# {wanted}\n")
    assert rest, f"{page.name} has no heading {wanted}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def anchor(title):
    """The name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


class Mistake(NamedTuple):
    number: int
    mark: str
    text: str


def mistakes(page):
    """The numbered mistakes of a page, in order. A mistake is a paragraph such as
    **7.** *Unsafe.* What is wrong."""
    entry = r"^\*\*(\d+)\.\*\* \*([^*]+)\.\* (.+?)(?=\n\n|\Z)"
    found = re.findall(entry, without_blocks(read(page)), re.MULTILINE | re.DOTALL)
    return [Mistake(int(number), mark, text) for number, mark, text in found]


def mistakes_named_in(file):
    """The numbers that a file names, as in (notes: mistakes 3, 7)."""
    # A remark may go on in the next line.
    text = re.sub(r"\n *# ?", " ", read(file))
    pattern = r"\(notes: mistakes? ([^)]+)\)"
    assert "(note" not in re.sub(pattern, "", text), file.name
    found = " ".join(re.findall(pattern, text))
    return [int(number) for number in re.findall(r"\d+", found)]


def mistake_texts():
    """number -> text of the mistake on the English page."""
    return {mistake.number: mistake.text for mistake in mistakes(COMPANION)}


# --- Every page.


@every_page
def test_links_inside_the_repository_lead_somewhere(page):
    for link in links_in(without_blocks(read(page))):
        if link.startswith("https://"):
            continue
        path, _, name = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if name:
            names = [anchor(part.title) for part in sections(target)]
            assert name in names, link


@both_languages
def test_both_languages_have_the_same_sections(english, korean):
    """As far as that can be seen in two languages: headings of the same levels."""
    english_levels = [part.level for part in sections(english)]
    korean_levels = [part.level for part in sections(korean)]
    assert english_levels == korean_levels


@both_languages
def test_both_languages_have_the_same_links(english, korean):
    pairs = zip(sections(english), sections(korean), strict=True)
    for in_english, in_korean in pairs:
        linked = targets_of(in_korean.text)
        assert targets_of(in_english.text) == linked, in_english.title


def targets_of(text):
    """The targets of the links, without the language. Of those into the same page only
    the ones to a lesson: other headings differ."""
    targets = [link.replace(".ko.md", ".md") for link in links_in(text)]
    lessons = [f"#{name}" for name in NAMES]
    return Counter(
        target for target in targets if target[0] != "#" or target in lessons
    )


@korean_page
def test_korean_pages_link_to_korean_pages(page):
    """Of the English pages that exist in Korean, a page links only to its own."""
    have_korean = []
    for link in links_in(read(page)):
        path = (page.parent / link.partition("#")[0]).resolve()
        if path.with_suffix(".ko.md").exists():
            have_korean.append(path)
    assert have_korean == [page.with_name(page.name.replace(".ko", "")).resolve()]


@korean_page
def test_korean_is_polite(page):
    text = without_blocks(read(page))
    # A polite sentence ends in 니다; another ending in 다 is too plain, 십시오 too formal.
    assert not re.findall(r"\S*(?<!니)다(?:[.:;(]| \|)", text)
    assert "십시오" not in text


# --- README.


@both_readmes
def test_readme_lists_every_lesson(page):
    row = r"^\| \[.+?\]\((\S+)\) \| .+ \| (.+) \| \[.+?\]\((\S+)\) \|$"
    rows = re.findall(row, read(page), re.MULTILINE)
    assert [lesson for lesson, _, _ in rows] == [lesson.name for lesson in LESSONS]
    assert [script for _, _, script in rows] == [
        f"scripts/{script.name}" for script in SCRIPTS
    ]
    headings = ", ".join(cell for _, cell, _ in rows).split(", ")
    assert set(headings) == set(HEADINGS)
    # The lesson names them, too, and its part of the page on the notes leads back.
    for lesson, (_, cell, _) in zip(LESSONS, rows, strict=True):
        notes = re.search(r"^Notes  (.+)$", read(lesson), re.MULTILINE)[1]
        words = set(re.split(r"; |, | > ", notes))
        assert set(cell.split(", ")) <= words <= set(HEADINGS), lesson.name
        for heading in cell.split(", "):
            assert f"#{lesson.stem}" in links_in(section(COMPANION, heading)), heading


@both_readmes
def test_files_in_the_commands_of_the_readme_exist(page):
    text = read(page)
    code = "\n".join([*code_blocks(text), *code_in(without_blocks(text))])
    for file in re.findall(r"[\w/]+\.(?:py|sh|txt)\b", code):
        assert (ROOT / file).is_file(), file
    assert set(re.findall(r"--app (\w+)", code)) <= set(NAMES)


@both_readmes
def test_readme_is_short(page):
    assert len(read(page).splitlines()) <= 132


def test_both_readmes_have_the_same_code():
    assert code_blocks(read(README)) == code_blocks(read(README_KO))
    pairs = zip(sections(README), sections(README_KO), strict=True)
    for in_english, in_korean in pairs:
        code = Counter(code_in(in_korean.text))
        assert Counter(code_in(in_english.text)) == code, in_english.title


def test_readme_shows_what_the_player_prints():
    """The lines of lesson 1 as they are printed, and the number of all promises."""
    shown = code_blocks(read(README))[0].splitlines()
    first = shown.index("$ sh scripts/run.sh") + 1
    last = len(shown) - 1
    player = subprocess.run(
        [sys.executable, ROOT / "scripts" / "play.py", "1"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert holds(shown[first:last], player.stdout), player.stdout
    calls = [call for script in SCRIPTS for call in read_script(script)[1]]
    count = sum(1 for call in calls if call.promise)
    assert shown[last] == f"{count} of {count} promises hold."


# --- docs/notes.md and docs/notes.ko.md.


def test_headings_are_those_of_the_notes(readers_notes):
    text = without_blocks(readers_notes)
    assert re.findall(r"^#+ (.+?) *$", text, re.MULTILINE) == HEADINGS


@both_companions
def test_every_heading_of_the_notes_then_every_lesson(page):
    titles = [part.title for part in sections(page) if part.level == 3]
    assert titles == HEADINGS + NAMES


@both_companions
def test_mistakes_are_numbered_in_order(page):
    assert [mistake.number for mistake in mistakes(page)] == list(NUMBERS)
    # mistakes() has missed none.
    assert len(re.findall(r"\*\*\d+", read(page))) == len(NUMBERS)


def test_mistakes_are_the_same_in_both_languages():
    pairs = zip(mistakes(COMPANION), mistakes(COMPANION_KO), strict=True)
    for in_english, in_korean in pairs:
        number = in_english.number
        assert MARKS[in_english.mark] == in_korean.mark, number
        code = Counter(code_in(in_korean.text))
        assert Counter(code_in(in_english.text)) == code, number
        assert targets_of(in_english.text) == targets_of(in_korean.text), number


def test_what_an_entry_quotes_first_is_in_mistakes_toml():
    """test_mistakes.py looks for it in the readers' notes."""
    for mistake in mistakes(COMPANION):
        quotes = "\n".join(MISTAKES[str(mistake.number)]["notes"])
        assert code_in(mistake.text)[0] in quotes, mistake.number


def test_the_page_quotes_each_error_of_mistakes_toml():
    texts = mistake_texts()
    assert [int(number) for number in MISTAKES] == list(texts)
    for number, mistake in MISTAKES.items():
        if "error" in mistake:
            codes = " ".join(code_in(texts[int(number)]))
            assert mistake["error"] in codes, number


@every_lesson_and_script
def test_mistakes_named_in_a_file_lead_back_to_it(file):
    texts = mistake_texts()
    path = file.relative_to(ROOT).as_posix()
    for number in mistakes_named_in(file):
        assert f"../{path}" in links_in(texts[number]), number


def test_a_file_that_a_mistake_links_to_names_it():
    for mistake in mistakes(COMPANION):
        for link in links_in(mistake.text):
            # 34 is about what the script of lesson 8 sends.
            if (mistake.number, link) == (34, "../scripts/08_inference.sh"):
                continue
            if link.startswith("../"):
                named = mistakes_named_in(ROOT / link[3:])
                assert mistake.number in named, f"{mistake.number}: {link}"


@both_companions
def test_a_section_names_the_address_to_open(page):
    for lesson in LESSONS:
        url = re.search(r"^Open   (\S+)$", read(lesson), re.MULTILINE)[1]
        assert url in code_in(without_blocks(section(page, lesson.stem))), url


@both_companions
def test_paths_to_call_are_called_by_a_script(page):
    """Each path that a heading tells the reader to call stands in the script of the
    lesson that it names."""
    found = []
    for heading in HEADINGS:
        for paragraph in section(page, heading).split("\n\n"):
            if paragraph.startswith("**"):  # a mistake
                continue
            lessons = re.findall(r"\(#(\d\d_\w+)\)", paragraph) or NAMES
            scripts = "".join(read(ROOT / f"scripts/{name}.sh") for name in lessons)
            for code in code_in(paragraph):
                if re.match("/[a-z]", code):
                    found.append(code)
                    # After it the URL ends, or "?" follows.
                    pattern = rf"\$URL{re.escape(code)}[\"?]"
                    assert re.search(pattern, scripts), f"{heading}: {code}"
    assert found


@every_script
def test_every_remark_is_there_in_korean(script):
    """Each remark has a numbered Korean item, with the same commands."""
    _, calls = read_script(script)
    expected = []
    for _, group in groupby(calls, key=lambda call: call.remark):
        commands = "\n".join(call.command for call in group)
        expected.append(without_indent(commands))

    item = r"^(\d+)\. (.+?)\n +```sh\n(.+?)\n +```$"
    text = section(COMPANION_KO, script.stem)
    parts = re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)
    assert parts == ["코드 풀이", "명령", "바꿔 보기"]
    items = re.findall(item, text, re.MULTILINE | re.DOTALL)
    for position, (number, remark, _) in enumerate(items, 1):
        assert int(number) == position
        assert re.search("[가-힣]", remark), remark
    assert [without_indent(commands) for _, _, commands in items] == expected


def without_indent(text):
    return re.sub("^ +", "", text, flags=re.MULTILINE)


# --- How to work on the collection.


def test_contributing_names_every_test_and_measurement():
    named = re.findall(r"(?:tests|benchmarks)/\w+\.py", read(CONTRIBUTING))
    files = [*ROOT.glob("tests/test_*.py"), *ROOT.glob("benchmarks/*.py")]
    assert sorted(set(named)) == sorted(
        file.relative_to(ROOT).as_posix() for file in files
    )
