"""What README and the book's pages say exists: their commands parse, their names are the code's."""

import re
from dataclasses import fields

import click
import pages
import pytest
import readme_commands
import yaml

from fashionlib.core.paths import PROJECT
from fashionlib.report import publish
from fashionlib.train import Recipe

README = (PROJECT / "README.md").read_text(encoding="utf-8")
BOOK = "\n".join(page.read_text(encoding="utf-8") for page in pages.BOOK)


def test_readme_is_a_front_page():
    """At most 1,500 words; what is more stands in tools/book."""
    assert len(README.split()) <= 1500


def test_readme_lists_every_notebook():
    listed = re.findall(r"\]\(notebooks/(\w+)\.ipynb\)", README)
    assert listed == sorted(path.stem for path in (PROJECT / "notebooks").glob("*.ipynb"))


def test_ci_runs_readmes_commands():
    """Both forms of papermill, and no command that is left out without a match and a reason."""
    assert "tests/readme_commands.py" in (PROJECT / ".ci/run").read_text()
    assert len(readme_commands.trainings()) == 2
    blocks = {command.split()[0] for command in readme_commands.commands()}
    assert {"make", "fashionlib", "papermill"} <= blocks
    for command in readme_commands.commands():
        if re.search("--data (sample|imaterialist)|papermill|cutout photos", command):
            assert not any(re.match(rule, command) for rule in readme_commands.ELSEWHERE), command


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert {words[0] for words in pages.commands("make")} <= targets


@pytest.mark.parametrize("words", pages.commands("fashionlib"), ids=" ".join)
def test_fashionlib_commands_parse(words):
    from fashionlib.cli import main

    command, rest = main, list(words)
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    options, positional, _ = command.make_parser(click.Context(command)).parse_args(rest)
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    missing = [p.name for p in arguments if p.required and options.get(p.name) in (None, ())]
    assert not positional and not missing


def test_papermill_commands_name_parameters_of_the_notebook():
    from fashionlib.reproduce import plan

    found = pages.commands("papermill", [*pages.BOOK, pages.CARD])
    runs = [words for words in found if words[0].startswith("notebooks/")]
    assert len(runs) >= 10
    settings = {each.name for each in fields(Recipe)}
    for notebook, *rest in runs:
        known = set(plan.parameter_defaults(notebook.removeprefix("notebooks/").removesuffix(".ipynb")))
        given = {rest[i + 1] for i, word in enumerate(rest) if word == "-p"}
        more = [yaml.safe_load(rest[i + 1]) for i, word in enumerate(rest) if word == "-y"]
        assert given.union(*more) <= known
        for each in more:
            assert set(each.get("settings", ())) <= settings - known, each


def test_parameters_in_the_text_are_the_notebooks():
    from fashionlib.reproduce import plan

    assert {words[0] for words in pages.commands("-p")} <= set(plan.parameter_defaults("03_train"))


def test_model_table_lists_every_model_preset_and_init():
    from fashionlib.models import MODELS
    from fashionlib.models.init_weights import INITS
    from fashionlib.train import PRESETS

    rows = dict(re.findall(r"^\| `(model|preset|init|scale)` \| (.*) \|$", BOOK, re.MULTILINE))
    named = {parameter: set(re.findall(r"`(\w+)`", text)) for parameter, text in rows.items()}
    assert named["model"] == set(MODELS)
    assert named["preset"] == set(PRESETS)
    assert named["init"] == set(INITS)


def test_the_table_is_the_committed_one():
    """`fashionlib publish` writes it; a number in the README that no run made would show here."""
    assert "<!-- table: ccp -->" in README
    assert publish.with_table(README, "ccp") == README
