"""The set-up: one source of pins, the same for pip, make and conda, and a doctor that can be trusted."""

import importlib.metadata
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fashionlib import doctor
from fashionlib.cli import errors
from fashionlib.core.paths import PROJECT

COMMITTED = ("constraints.txt", "environment.yml", "pyproject.toml", "Makefile", ".ci/run")
INSTALLED = (
    ("test", "book") if importlib.util.find_spec("sphinx") else ("test",)
)  # `make book` adds its extra
GPU_PARTS = ("nvidia-", "cuda-", "triton")  # a GPU build of torch pins these itself


@pytest.fixture(scope="module")
def conda() -> dict:
    """environment.yml: `python` and `pip` as strings, the pip section as a mapping."""
    return yaml.safe_load((PROJECT / "environment.yml").read_text())


def pip_section(conda) -> list[str]:
    return next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))


def needed(name: str, extras: tuple[str, ...] = (), seen: set | None = None) -> set[str]:
    """Normalised names of everything that `name` requires on this machine, however indirectly."""
    seen = set() if seen is None else seen
    for requirement in map(Requirement, importlib.metadata.requires(name) or []):
        markers = [{"extra": extra} for extra in ("", *extras)]
        wanted = requirement.marker is None or any(map(requirement.marker.evaluate, markers))
        key = canonicalize_name(requirement.name)
        if wanted and (key, *sorted(requirement.extras)) not in seen:
            seen.add((key, *sorted(requirement.extras)))
            needed(key, tuple(requirement.extras), seen)
    return {key for key, *_ in seen} - {"fashionlib"}  # an extra that contains others


def test_conda_and_make_install_the_same_line(conda):
    makefile = (PROJECT / "Makefile").read_text()
    (line,) = re.findall(r"-m pip install (.*)", makefile)
    by_make = [word for word in shlex.split(line) if word != "--disable-pip-version-check"]
    by_conda = [word for entry in pip_section(conda) for word in shlex.split(entry)]
    assert by_conda == by_make == ["-c", "constraints.txt", "-e", ".[test]"]


def test_without_extras_cut_outs_alone_are_installed():
    """The small core: half a gigabyte of torch, notebooks and compilers less."""
    core = {
        Requirement(each).name for each in importlib.metadata.requires("fashionlib") if "extra ==" not in each
    }
    assert core == {
        "numpy", "scipy", "opencv-python", "pillow", "openvino", "safetensors", "jsonschema", "click", "tqdm",
        "filelock", "packaging",
    }  # fmt: skip
    assert not {"torch", "pandas", "matplotlib", "numba", "onedl-mmcv"} & needed("fashionlib")


def test_every_extra_that_is_named_exists():
    """In pyproject.toml, and in the sentence about a missing package."""
    known = set(importlib.metadata.metadata("fashionlib").get_all("Provides-Extra"))
    assert {*doctor.EXTRAS, *errors.EXTRAS.values()} <= known


def test_conda_adds_no_version_of_its_own_but_python(conda):
    others = [entry for entry in conda["dependencies"] if isinstance(entry, str)]
    assert others == ["python=3.11", "pip"]


def test_condas_pip_section_changes_nothing_in_the_environment_that_make_built(conda):
    words = [word for entry in pip_section(conda) for word in shlex.split(entry)]
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*pip, *words], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    installed = [line for line in done.stdout.splitlines() if line.startswith("Would install")]
    assert installed in ([], [f"Would install fashionlib-{importlib.metadata.version('fashionlib')}"])


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    """Normalised name -> version in constraints.txt, each name once."""
    pairs = [line.split("==") for line in doctor.pinned()]
    found = {canonicalize_name(name): version for name, version in pairs}
    assert len(found) == len(pairs)
    return found


def test_every_package_is_installed_at_its_pin(pins):
    wanted = {name for name in needed("fashionlib", INSTALLED) if not name.startswith(GPU_PARTS)}
    assert wanted <= set(pins), "not pinned"
    versions = {name: importlib.metadata.version(name).split("+")[0] for name in wanted}
    assert versions == {name: pins[name] for name in wanted}


@pytest.mark.skipif("book" not in INSTALLED, reason="known where `make book` was run, as in CI")
@pytest.mark.skipif(
    (sys.platform, sys.version_info[:2]) != ("linux", doctor.TESTED_PYTHON),
    reason="the pins were made on Linux with Python 3.11; elsewhere some are not needed",
)
def test_every_pin_is_needed(pins):
    assert set(pins) == needed("fashionlib", INSTALLED)


@pytest.mark.parametrize("file", COMMITTED)
def test_no_local_path_or_index_is_committed(file):
    text = (PROJECT / file).read_text()
    assert not re.search(r"--(extra-)?index-url|--find-links|file://|/opt/|\+cpu$|@ ", text, re.MULTILINE)


def test_doctor_passes_here_and_says_so(capsys):
    assert doctor.main() == 0, capsys.readouterr().out
    assert capsys.readouterr().out.endswith("All is well.\n")


def test_doctor_names_missing_and_wrong_packages_and_asks_for_none_of_another_platform(tmp_path, monkeypatch):
    needs = ["torch>=2.6", "Py_Matting>=1", "click", "dos; sys_platform == 'dos'", "ray; extra == 'ray'"]
    needs += ["pytest>=8; extra == 'test'", "seaborn<1; extra == 'test'"]
    pins = "# pins\ntorch==2.13.0\npy.matting==1.1.16\nclick==8.5.1\npytest==9.2.0\n"
    (tmp_path / "constraints.txt").write_text(pins)
    installed = {"torch": "2.13.0+cpu", "py-matting": "1.1.15", "click": "8.5.1", "seaborn": "1.0"}

    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(doctor.paths, "PROJECT", tmp_path)
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needs)
    monkeypatch.setattr(doctor.metadata, "version", version)
    torch, matting, click, pytest_, seaborn = doctor.packages()
    assert not torch.bad and not torch.advice and not click.bad
    assert matting.bad and matting.advice == "make setup installs ==1.1.16"
    assert pytest_.bad and pytest_.found == "missing" and "9.2.0" in pytest_.advice
    assert seaborn.bad and "<1" in seaborn.advice  # not pinned: its range counts


def test_doctor_ends_with_1_and_a_list_of_what_is_bad(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "checks", lambda: [doctor.Check("libGL.so.1", "missing", "apt", True)])
    assert doctor.main() == 1
    assert capsys.readouterr().out.endswith("1 to put right: libGL.so.1.\n")


def test_doctor_names_the_apt_line_for_a_missing_library(monkeypatch):
    monkeypatch.setitem(doctor.OPENCV_NEEDS, "libnowhere.so.9", "libnowhere9")
    check = doctor._library("libnowhere.so.9")
    assert check.bad and "apt-get install -y libnowhere9" in check.advice


def test_doctor_runs_on_bare_python():
    """No site packages at all: it still reports, names what is missing and ends with 1."""
    bare = [sys.executable, "-S", "-m", "fashionlib.doctor"]
    done = subprocess.run(bare, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert re.search(r"BAD  packages +missing\n +-> make setup installs ", done.stdout)


def test_doctor_refuses_a_home_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("FASHION_HOME", str(tmp_path / "absent"))
    check = doctor._home()
    assert check.bad and "FASHION_HOME" in check.advice


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_skips_the_set_up_the_second_time(tmp_path):
    """With a stamp newer than the pins make has nothing to install, with changed pins it has."""
    stamp = tmp_path / "venv" / ".ready"
    stamp.parent.mkdir()
    stamp.touch()
    dry = ["make", "--dry-run", f"VENV={stamp.parent}", "setup"]
    assert "pip install" not in subprocess.run(dry, cwd=PROJECT, capture_output=True, text=True).stdout
    changed = subprocess.run([*dry, "--what-if=constraints.txt"], cwd=PROJECT, capture_output=True, text=True)
    assert "pip install" in changed.stdout


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_lab_puts_the_environment_on_the_path_and_passes_options_on(tmp_path):
    """The recipe runs with a stand-in for python that tells its words and its PATH."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PATH|$*"\n')
    python.chmod(0o755)
    stamps = [f"VENV={tmp_path}/venv", "-o", f"{tmp_path}/venv/.ready", "-o", "./data/sample/dataset.json"]
    words = ["make", "-s", *stamps, "lab", "ARGS=--no-browser --port 9999"]
    told = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True).stdout
    path, words = told.split("|")
    assert path.split(":")[0] == str(python.parent)
    assert words.startswith("-m jupyterlab ") and words.endswith("--no-browser --port 9999\n")


def test_jupyters_python3_is_this_environment():
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec("python3")
    assert spec.resource_dir.startswith(sys.prefix)
