"""The README and the files beside it name only what exists, and quote only what is published."""

import re

import pytest
import yaml

import cleanmarl
from tests.helpers import REPO, SCRIPTS, module

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
RESULTS = REPO / "benchmark" / "results"
# Flags of other programs that the README's commands use.
OTHER_FLAGS = {"--help", "--keep-going", "--logdir"}


def headings(path):
    """The anchors that GitHub and the site make of a page's headings."""
    titles = re.findall(r"^#+ (.*)", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def table_of(path, first_columns):
    """The rows of a page's table that begins with these columns, each a dictionary by column."""
    pattern = rf"^\| {re.escape(first_columns)} \|.*\n(?:\|.*\n)+"
    table = re.search(pattern, path.read_text(), re.M)[0]
    rows = []
    for line in table.splitlines():
        cells = line.strip("|").split("|")
        rows.append([cell.strip() for cell in cells])
    head, _, *body = rows
    return [dict(zip(head, row, strict=True)) for row in body]


def test_readme_names_only_files_that_exist():
    words = (REPO / "README.md").read_text().replace("`", " ").split()
    files = [word for word in words if re.fullmatch(r"(cleanmarl|benchmark|docs)/[\w/]*\.py", word)]
    assert len(files) > 5
    for file in files:
        assert (REPO / file).exists(), file


def test_readme_names_only_arguments_that_exist():
    programs = [module(script).Args() for script in SCRIPTS]
    programs.append(module("evaluate").Args("runs/..."))
    fields = {field for args in programs for field in vars(args)}
    known = {f"--{field.replace('_', '-')}" for field in fields} | OTHER_FLAGS
    words = (REPO / "README.md").read_text().split()
    flags = {word.strip("`.,;:)(") for word in words if word.strip("`(").startswith("--")}
    assert len(flags) > 10
    assert {flag.split("=")[0] for flag in flags} <= known


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)]+)\)", (REPO / page).read_text())
    links = [link for link in links if not link.startswith("https://")]
    for link in links:
        file, _, anchor = link.partition("#")
        target = REPO / file if file else REPO / page
        assert target.exists(), link
        if anchor:
            assert anchor in headings(target), link


def test_the_readme_quotes_the_published_table():
    """What it has of the two lines, without intervals."""
    published = table_of(RESULTS / "tasks.md", "task | default | recommended")
    quoted = table_of(REPO / "README.md", "task | default | recommended")
    for row, result in zip(quoted, published, strict=True):
        assert row["task"] == result["task"]
        for label in ("default", "recommended"):
            assert row[label] == result[label].split()[0]
            assert row[f"steps to 0.9, {label}"] == result[f"steps, {label}"]
        versions = result["version"].split(" / ")[:2]  # one, where all lines have the same
        assert row["version"] == " / ".join(dict.fromkeys(versions))


def test_the_recommended_arguments_are_those_of_the_benchmark():
    """README, the results and the benchmark's table of suites name the same ones."""
    suites = (REPO / "benchmark" / "suites.py").read_text()
    recommended = re.search(r'^RECOMMENDED = "(.*)"', suites, re.M)[1]
    for page in ("README.md", "docs/results.md", "docs/index.md"):
        assert recommended in (REPO / page).read_text(), page


def test_contributing_names_the_tests_that_exist():
    named = re.findall(r"`(test_\w+\.py)`", (REPO / "CONTRIBUTING.md").read_text())
    assert set(named) == {path.name for path in REPO.glob("tests/test_*.py")}


def test_the_changelog_has_the_version():
    changelog = (REPO / "CHANGELOG.md").read_text()
    assert f"\n## {cleanmarl.__version__} - " in changelog


def test_the_workflow_runs_the_gate_and_nothing_else():
    workflow = yaml.safe_load((REPO / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    oldest = re.search(r'requires-python = ">=(.*)"', (REPO / "pyproject.toml").read_text())[1]
    assert job["strategy"]["matrix"]["python-version"][0] == oldest


def test_what_to_cite():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    papers = [
        reference["url"].removeprefix("https://arxiv.org/abs/")
        for reference in citation["references"]
    ]
    assert papers == ["1803.11485", "2003.08839", "1902.04043", "2305.05566"]


@pytest.mark.parametrize("form", ["bug", "question"])
def test_an_issue_form_asks_something(form):
    """GitHub shows no form that lacks one of these keys, and says so nowhere."""
    path = REPO / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml"
    asked = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(asked)
    for field in asked["body"]:
        assert field["attributes"]["label"], field
