"""What the README says exists: its commands parse, its links lead somewhere, its names are the code's."""

import re
import shlex

import click
import pytest
import readme_commands

from fashionlib.core.paths import PROJECT
from fashionlib.report import publish

README = (PROJECT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "THIRD_PARTY.md", "tests/README.md")


def commands(program: str) -> list[list[str]]:
    """The words after `program` of every command of it, in code blocks and in code spans."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    spans = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", README)]
    words = [shlex.split(text, comments=True) for text in [*lines, *spans] if text.startswith(f"{program} ")]
    return [rest for _, *rest in words if rest]


def test_ci_runs_readmes_commands():
    """Both forms of papermill, and no command that is left out without a match and a reason."""
    assert "tests.readme_commands" in (PROJECT / ".ci/run").read_text()
    assert len(readme_commands.trainings()) == 2
    blocks = {command.split()[0] for command in readme_commands.commands()}
    assert {"make", "fashionlib", "papermill"} <= blocks
    for command in readme_commands.commands():
        if re.search("--data (sample|imaterialist)|papermill|cutout photos", command):
            assert not any(re.match(rule, command) for rule in readme_commands.ELSEWHERE), command


@pytest.mark.parametrize("page", PAGES)
def test_links_and_figures_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)\)", (PROJECT / page).read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (PROJECT / page).parent.joinpath(t).exists()]
    assert not missing


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert {words[0] for words in commands("make")} <= targets


@pytest.mark.parametrize("words", commands("fashionlib"), ids=" ".join)
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

    runs = [words for words in commands("papermill") if words[0].startswith("notebooks/")]
    assert len(runs) >= 3
    for notebook, *rest in runs:
        known = plan.parameter_defaults(notebook.removeprefix("notebooks/").removesuffix(".ipynb"))
        assert {rest[i + 1] for i, word in enumerate(rest) if word == "-p"} <= set(known)


def test_parameters_in_the_text_are_the_notebooks():
    from fashionlib.reproduce import plan

    assert {words[0] for words in commands("-p")} <= set(plan.parameter_defaults("03_train"))


def test_model_table_lists_every_model_preset_and_init():
    from fashionlib.models import MODELS
    from fashionlib.models.init_weights import INITS
    from fashionlib.train import PRESETS

    rows = dict(re.findall(r"^\| `(model|preset|init|scale)` \| (.*) \|$", README, re.MULTILINE))
    named = {parameter: set(re.findall(r"`(\w+)`", text)) for parameter, text in rows.items()}
    assert named["model"] == set(MODELS)
    assert named["preset"] == set(PRESETS)
    assert named["init"] == set(INITS)


@pytest.mark.parametrize("data", ["sample", "ccp"])
def test_tables_are_the_committed_ones(data):
    """`fashionlib publish` writes them; a number in the README that no run made would show here."""
    assert f"<!-- table: {data} -->" in README
    assert publish.with_table(README, data) == README
