"""Tests of the scripts that make environments, images and releases, in copies of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import pytest
from coverage import CoverageData

from integration_tests import image
from integration_tests.conftest import ENVIRONMENT
from integration_tests.environments import require_environment
from integration_tests.tree import ROOT, cloned

SCRIPTS = ROOT / "scripts"


class FakeBin:
    """A directory that is the whole PATH: a few basic tools, and the stand-in programs of a test."""

    TOOLS = "awk basename bash cat cmp cp diff dirname grep head id mkdir mktemp mv paste rm sed tail tr"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        for tool in self.TOOLS.split():
            found = shutil.which(tool)
            assert found, tool
            (directory / tool).symlink_to(found)

    def put(self, name: str, script: str) -> None:
        """Add a program that appends its arguments to a log file."""
        program = self.directory / name
        program.write_text(f'#!/usr/bin/env bash\necho "$*" >> "{self._calls(name)}"\n{script}\n')
        program.chmod(0o755)

    def python(self, name: str, version: str, *, venv: bool = True) -> None:
        """Add an interpreter with this version, with or without the venv module."""
        self.put(name, f'[ "$1" = --version ] && echo "Python {version}" && exit\nexit {0 if venv else 1}')

    def calls(self, name: str) -> list[str]:
        """The arguments of each call of a program."""
        return self._calls(name).read_text().splitlines() if self._calls(name).exists() else []

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script with this PATH."""
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(self.directory), "PATH": str(self.directory), **environment},
        )

    def _calls(self, name: str) -> Path:
        return self.directory.with_name(f"{name}.calls")


@pytest.fixture
def fake_bin(tmp_path):
    return FakeBin(tmp_path / "bin")


# extra, interpreters on the PATH, the chosen one
CHOICES = [
    ("quickstart", {"python3": "3.11.2"}, "python3"),
    ("quickstart", {"python3": "3.13.1", "python3.10": "3.10.1", "python3.11": "3.11.1"}, "python3.11"),
    ("quickstart", {"python3": "3.14.0", "python3.12": "3.12.9", "python3.13": "3.13.0"}, "python3.12"),
    ("quickstart", {"python3": "3.9.2", "python3.10": "3.10.14"}, "python3.10"),
    ("quickstart", {"python": "3.12.0"}, "python"),
    ("tests", {"python3": "3.13.1", "python3.11": "3.11.1"}, "python3.11"),
    ("tests", {"python3": "3.13.1"}, "python3"),
    ("tests", {"python3": "3.14.0", "python3.13": "3.13.1"}, "python3.13"),
    ("unit", {"python3": "3.13.1"}, "python3"),
]


@pytest.mark.parametrize(("extra", "there", "taken"), CHOICES)
def test_a_supported_interpreter_is_found_on_the_path(fake_bin, extra, there, taken):
    for name, version in there.items():
        fake_bin.python(name, version)
    done = fake_bin.run(SCRIPTS / "python", extra)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{taken}\n", "")


def test_an_interpreter_without_venv_is_ignored(fake_bin):
    fake_bin.python("python3", "3.11.2", venv=False)
    fake_bin.python("python3.10", "3.10.1")
    assert fake_bin.run(SCRIPTS / "python", "quickstart").stdout == "python3.10\n"


def test_the_missing_venv_package_is_named(fake_bin):
    fake_bin.python("python3", "3.11.2", venv=False)
    done = fake_bin.run(SCRIPTS / "python", "quickstart")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "python3 has no venv. To install it on Debian: apt-get install python3-venv\n"


@pytest.mark.parametrize(("extra", "version", "fits"), [("quickstart", "3.13.0", False), ("tests", "3.13.0", True)])
def test_a_named_interpreter_is_used_only_if_its_version_is_supported(fake_bin, extra, version, fits):
    fake_bin.python("python3", "3.11.2")
    fake_bin.python("mine", version)
    done = fake_bin.run(SCRIPTS / "python", extra, "mine")
    assert done.returncode == (0 if fits else 1)
    assert done.stdout == ("mine\n" if fits else "")
    refusal = f"PyAirbyte needs Python 3.10, 3.11 or 3.12, and mine is Python {version}. To choose another one: "
    assert done.stderr == ("" if fits else f"{refusal}make PYTHON=python3.12 …\n")


def test_a_missing_named_interpreter_is_reported(fake_bin):
    done = fake_bin.run(SCRIPTS / "python", "quickstart", "pythonX")
    assert done.returncode == 1
    assert "and pythonX is missing. To choose another one: make PYTHON=python3.12 …" in done.stderr


FETCHING = """
case "$2" in
  install) exit {code} ;;
  find) echo "$UV_PYTHON_INSTALL_DIR/bin/python3.12" ;;
esac
"""


def test_uv_downloads_an_interpreter_if_none_is_supported(fake_bin):
    fake_bin.python("python3", "3.14.0")
    fake_bin.put("uv", FETCHING.format(code=0))
    done = fake_bin.run(SCRIPTS / "python", "quickstart")
    assert (done.returncode, done.stdout) == (0, f"{ROOT}/.python/bin/python3.12\n")
    assert "uv downloads 3.12" in done.stderr
    assert fake_bin.calls("uv")[0] == "python install --quiet --no-bin 3.12"


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ({"apt-get": "", "apt-cache": '[ "$2" = python3.11-venv ]'}, "apt-get install python3.11-venv"),
        ({"apt-get": "", "apt-cache": "exit 100"}, "pyenv install 3.12"),
        ({"dnf": ""}, "dnf install python3.12"),
        ({"zypper": ""}, "zypper install python312"),
        ({"brew": ""}, "brew install python@3.12"),
        ({}, "pyenv install 3.12"),
    ],
)
def test_the_command_to_install_an_interpreter_is_named_if_none_can_be_downloaded(fake_bin, manager, command):
    fake_bin.put("uv", FETCHING.format(code=1))
    for name, script in manager.items():
        fake_bin.put(name, script)
    done = fake_bin.run(SCRIPTS / "python", "quickstart")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-2:] == [
        "PyAirbyte needs Python 3.10, 3.11 or 3.12, but none is on the PATH, and uv could not download one. "
        "Install one, then run this again:",
        f"  {command}",
    ]


MAKES_VENVS = """
case "$*" in
  --version) echo "Python {version}" ;;
  *"venv.main"*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; cp "$(dirname "$0")/uv" "$3/bin/uv.later" ;;
  "-m pip install "*) cat > "$(dirname "$0")/pip.stdin"; mv "$(dirname "$0")/uv.later" "$(dirname "$0")/uv" ;;
esac
"""


def test_an_environment_contains_only_locked_versions(fake_bin, copy):
    fake_bin.put("python3", MAKES_VENVS.format(version="3.11.2"))
    fake_bin.put("uv", "")
    done = fake_bin.run(copy / "scripts" / "venv", "", copy / ".venv", "tests")
    assert done.returncode == 0, done.stderr
    assert "Making" in done.stderr
    assert "packages of the tests extra, about 1 GB" in done.stderr, "a message says what will be installed"
    [pip] = [call for call in fake_bin.calls("python3") if call.startswith("-m pip install")]
    assert "--no-deps --require-hashes" in pip
    pinned = (copy / ".venv" / "bin" / "pip.stdin").read_text()
    assert re.findall(r"^\S+==", pinned, re.MULTILINE) == ["uv=="]
    assert "--hash=sha256:" in pinned
    [install] = fake_bin.calls("uv")
    lock = "requirements-tests.lock"
    assert f"--constraint {lock} --build-constraint {lock} --editable .[tests]" in install


def test_an_environment_of_an_unsupported_python_is_replaced(fake_bin, copy):
    fake_bin.put("uv", "")
    fake_bin.put("python3", MAKES_VENVS.format(version="3.13.0"))
    assert fake_bin.run(copy / "scripts" / "venv", "", copy / ".venv", "tests").returncode == 0
    fake_bin.put("python3.12", MAKES_VENVS.format(version="3.12.1"))
    (copy / ".venv" / "tests.done").touch()
    done = fake_bin.run(copy / "scripts" / "venv", "", copy / ".venv", "quickstart")
    assert done.returncode == 0, done.stderr
    assert f"Python 3.13.0 in {copy}/.venv is not supported for this: replacing the environment." in done.stderr
    assert not (copy / ".venv" / "tests.done").exists()
    assert (fake_bin.run(copy / ".venv" / "bin" / "python", "--version").stdout) == "Python 3.12.1\n"


def test_the_environment_stays_unchanged_if_no_python_is_supported(fake_bin, copy):
    fake_bin.put("uv", "[ $1 != python ]")
    fake_bin.put("python3", MAKES_VENVS.format(version="3.13.0"))
    assert fake_bin.run(copy / "scripts" / "venv", "", copy / ".venv", "tests").returncode == 0
    done = fake_bin.run(copy / "scripts" / "venv", "", copy / ".venv", "quickstart")
    assert done.returncode == 1
    assert (copy / ".venv" / "bin" / "python").exists()


def test_the_installed_versions_are_the_locked_ones():
    lock = (ROOT / "requirements-tests.lock").read_text()
    pins = {(normalised(name), version) for name, version in re.findall(r"^(\S+)==(\S+)", lock, re.MULTILINE)}
    installed = {
        (normalised(each.name), each.version) for each in metadata.distributions(path=[sysconfig.get_path("purelib")])
    }
    ours = {pin for pin in installed if pin[0] in ("airbyte-source-ravan-calcom", "pip")}
    assert installed - ours - pins == set()


def normalised(name: str) -> str:
    """The package's name as PyPI normalises it."""
    return re.sub("[-_.]+", "-", name).lower()


def test_a_separate_environment_is_made_once_and_again_after_its_list_or_python_changed(fake_bin, copy):
    fake_bin.put("python", "echo Python 3.11.2")
    fake_bin.put("uv", '[ "$1" != venv ] || mkdir -p "${@: -1}/bin"')
    shutil.copytree(fake_bin.directory, copy / ".venv" / "bin", symlinks=True)
    (copy / "requirements" / "mine.txt").write_text("tool==1.0\n")

    def make() -> tuple[str, int]:
        done = fake_bin.run(copy / "scripts" / "environment", "mine")
        assert done.returncode == 0, done.stderr
        return done.stdout, len(fake_bin.calls("uv"))

    bin_directory = f"{copy}/.envs/mine/bin\n"
    assert [make(), make()] == [(bin_directory, 2), (bin_directory, 2)]
    assert "--requirements requirements/mine.txt" in fake_bin.calls("uv")[-1]
    (copy / "requirements" / "mine.txt").write_text("tool==2.0\n")
    assert make() == (bin_directory, 4)
    shutil.rmtree(copy / ".venv")
    fake_bin.put("python", "echo Python 3.12.1")
    shutil.copytree(fake_bin.directory, copy / ".venv" / "bin", symlinks=True)
    assert make() == (bin_directory, 6)


def test_an_incomplete_environment_is_replaced(fake_bin, copy):
    fake_bin.put("python", "echo Python 3.11.2")
    fake_bin.put("uv", '[ "$1" = venv ] && mkdir -p "${@: -1}/bin"')
    shutil.copytree(fake_bin.directory, copy / ".venv" / "bin", symlinks=True)
    for _ in range(2):
        assert fake_bin.run(copy / "scripts" / "environment", "qa").returncode == 1
    assert len(fake_bin.calls("uv")) == 4


@pytest.mark.parametrize("stale", ["", "requirements.lock", "requirements-tests.lock", "requirements/qa.txt"])
def test_an_outdated_lock_file_is_named(fake_bin, copy, stale):
    """The stand-in for uv adds a package to the outdated lock file, its last argument."""
    fake_bin.put("uv", f'[ "$(basename "${{@: -1}}")" != "{Path(stale).name}" ] || echo "new==1.0" >> "${{@: -1}}"')
    (copy / ".venv" / "bin").mkdir(parents=True)
    (copy / ".venv" / "bin" / "uv").symlink_to(fake_bin.directory / "uv")
    done = fake_bin.run(copy / "scripts" / "lock", "--check")
    assert done.returncode == (1 if stale else 0)
    assert done.stderr == (f"{stale} is outdated; run: make lock\n" if stale else "")
    assert all("--universal" in call and "--generate-hashes" in call for call in fake_bin.calls("uv"))


def test_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    [targets] = re.findall(r"^\.PHONY: help (.*)$", makefile, re.MULTILINE)
    assert set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE)) == {"help", *targets.split()}
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"^make (\w+) ", done.stdout, re.MULTILINE) == targets.split()


def test_a_variable_in_lower_case_is_refused():
    command = ["make", "--dry-run", "sync", "config=x"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Unknown variable config=…. Write it in capitals: CONFIG=…." in done.stderr


def test_the_missing_base_image_is_named_if_the_image_can_not_be_built(fake_bin, copy):
    fake_bin.put("docker", UNREACHABLE)
    done = fake_bin.run(copy / "scripts" / "image")
    assert done.returncode == image.UNAVAILABLE
    assert "set BASE_IMAGE=… to a copy of it" in done.stderr


UNREACHABLE = """
case "$1" in
  info | version) ;;
  pull) echo "Trying …"; echo "dial tcp: lookup registry: no such host" >&2; exit 1 ;;
  *) exit 1 ;;
esac
"""
INSTEAD = "as root on Debian 12, scripts/stand-in-base makes a base image to test with"
OTHER = f"set BASE_IMAGE=… to a copy of it, or, {INSTEAD}"


@pytest.fixture
def copy(tmp_path):
    return cloned(tmp_path / "a copy")


@pytest.mark.parametrize("tool", ["docker", "podman"])
def test_the_image_tests_are_skipped_if_the_base_image_can_not_be_pulled(fake_bin, copy, tool):
    fake_bin.put(tool, UNREACHABLE)
    done = fake_bin.run(copy / "scripts" / "test-image")
    assert done.returncode == image.UNAVAILABLE
    assert done.stdout == f"the base image can't be pulled (dial tcp: lookup registry: no such host); {OTHER}\n"
    assert not [call for call in fake_bin.calls(tool) if call.startswith("build")]


def test_the_image_tests_are_skipped_without_docker_and_podman(fake_bin, copy):
    fake_bin.put("docker", "exit 1")  # the command exists, but its engine does not run
    done = fake_bin.run(copy / "scripts" / "test-image")
    assert (done.returncode, done.stdout) == (
        image.UNAVAILABLE,
        f"neither docker nor podman works; {INSTEAD}\n",
    )


def test_podman_is_used_if_docker_does_not_work(fake_bin, copy):
    fake_bin.put("docker", "exit 1")
    fake_bin.put("podman", "echo podman")
    assert fake_bin.run(copy / "scripts" / "container", "version").stdout.splitlines()[-1] == "podman"


def test_an_existing_base_image_is_not_pulled(fake_bin, copy):
    fake_bin.put("docker", '[ "$1" != pull ]')
    assert fake_bin.run(copy / "scripts" / "base-image").returncode == 0


def test_a_failed_build_does_not_skip_the_image_tests(fake_bin, copy):
    fake_bin.put("docker", '[ "$1" != build ] || { echo "Step 3 failed"; exit 1; }')
    done = fake_bin.run(copy / "scripts" / "test-image")
    assert (done.returncode, done.stdout) == (1, "Step 3 failed\n")


def test_podman_builds_on_the_stand_in_base_if_it_exists(fake_bin, copy):
    fake_bin.put("docker", UNREACHABLE)
    fake_bin.put("podman", "")
    (copy / ".image").mkdir()
    (copy / ".image" / "base").write_text("localhost/base\n")
    done = fake_bin.run(copy / "scripts" / "test-image")
    assert (done.returncode, fake_bin.calls("docker")) == (0, [])
    [build] = [call for call in fake_bin.calls("podman") if call.startswith("build")]
    assert "BASE_IMAGE=localhost/base --pull=never" in build


OUTCOMES = [(0, "", "runs"), (0, "true", "runs"), (1, "", "fails"), (image.UNAVAILABLE, "", "skips")]


@pytest.mark.parametrize(("code", "ci", "outcome"), [*OUTCOMES, (image.UNAVAILABLE, "true", "fails")])
def test_the_image_tests_are_skipped_without_an_image_except_in_ci(monkeypatch, code, ci, outcome):
    monkeypatch.setattr(image, "_build", lambda: (code, "the reason"))
    monkeypatch.setenv("CI", ci)
    if outcome == "runs":
        image.require_image(monkeypatch)
        return
    ended = pytest.fail.Exception if outcome == "fails" else pytest.skip.Exception
    with pytest.raises(ended, match="the reason"):
        image.require_image(monkeypatch)


def test_make_test_runs_the_tests_even_if_the_image_can_not_be_built(fake_bin, copy):
    fake_bin.put("docker", UNREACHABLE)
    venv = copy / ".venv" / "bin"
    venv.mkdir(parents=True)
    fake_bin.put("python", 'echo "$PYTHONPATH $PATH" >&2; [ "$2" != pytest ] || exit 5')
    (venv / "python").symlink_to(fake_bin.directory / "python")
    done = fake_bin.run(copy / "scripts" / "test")
    assert done.returncode == 5
    assert f"{copy}/scripts/coverage {copy}/scripts/shims:" in done.stderr
    assert fake_bin.calls("python")[1:] == [
        "-m pytest --numprocesses 2 --dist loadfile",
        "-m coverage combine --quiet",
        "-m coverage report",
    ]
    assert "takes about" in done.stdout
    assert fake_bin.run(copy / "scripts" / "test", "-k", "this or that").returncode == 5
    assert fake_bin.calls("python")[-1] == "-m pytest -k this or that"


def texts(tree: Path) -> dict[str, str]:
    """The text of every file that is written by hand, by path."""
    files = [path for path in tree.rglob("*") if path.is_file() and path.suffix != ".lock"]
    files = [path for path in files if path.parent.name != "requirements"]
    return {str(path.relative_to(tree)): path.read_text(errors="replace") for path in files}


def mentions(version: str, text: str) -> int:
    """How often a version is in a text, except in prose about an older one."""
    prose = "".join(f"(?<!{word} )" for word in ("since", "until", "of version", "and", "or"))
    return len(re.findall(rf"{prose}(?<![\d.]){re.escape(version)}(?!\.?\d)", text))


def unreleased(tree: Path, text: str) -> None:
    """Put a text into the changelog's section Unreleased."""
    changelog = tree / "CHANGELOG.md"
    before, _, after = changelog.read_text().partition("## Unreleased\n")
    changelog.write_text(f"{before}## Unreleased\n\n{text}\n## {after.partition(chr(10) + '## ')[2]}")


def release(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tree / "scripts" / "release"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_release_replaces_the_old_version_everywhere_but_in_the_changelog(copy):
    [old] = set(re.findall(r'^version = "(.*)"$', (copy / "pyproject.toml").read_text(), re.MULTILINE))
    unreleased(copy, "A subject\n\n- A detail\n")
    before = texts(copy)
    done = release(copy, "98.7.6")
    assert done.returncode == 0, done.stderr
    after = texts(copy)
    assert {path: mentions(old, text) for path, text in after.items() if mentions(old, text)} == {
        "CHANGELOG.md": 1,
        "docs/ravan-calcom.md": 1,
    }
    changed = [path for path in after if after[path] != before[path]]
    assert done.stdout.splitlines()[:-1] == sorted(changed)
    for path in changed:
        assert mentions("98.7.6", after[path]) == mentions(old, before[path]), path
    today = datetime.now(timezone.utc).date()
    assert f"\n|---|---|---|---|\n| 98.7.6 | {today} | | A subject |\n| {old} | " in after["docs/ravan-calcom.md"]
    assert f"## Unreleased\n\n## 98.7.6 - {today}\n\nA subject\n\n- A detail\n\n## {old} - " in after["CHANGELOG.md"]


@pytest.mark.parametrize(
    ("arguments", "subject", "code", "sentence"),
    [
        ([], "A subject", 2, "usage: scripts/release X.Y.Z"),
        (["98.7"], "A subject", 1, "98.7 is not a version of the form X.Y.Z."),
        (["0.0.1"], "A subject", 1, "0.0.1 does not follow "),
        (["98.7.6"], "one | two", 1, "CHANGELOG.md needs a first line under Unreleased"),
        (["98.7.6"], "", 1, "CHANGELOG.md needs a first line under Unreleased"),
    ],
)
def test_an_invalid_release_changes_no_file(copy, arguments, subject, code, sentence):
    unreleased(copy, f"{subject}\n")
    before = texts(copy)
    done = release(copy, *arguments)
    assert (done.returncode, texts(copy)) == (code, before)
    assert sentence in done.stderr


def test_the_packages_contain_the_files_of_their_page_and_list_their_requirements(copy):
    require_environment("sbom")
    (copy / ".envs").symlink_to(ROOT / ".envs")
    done = subprocess.run(
        [copy / "scripts" / "package"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "VENV": sys.prefix},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
    [wheel], [sdist] = (copy / "dist").glob("*.whl"), (copy / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as packed:
        assert {name.split("/")[0] for name in packed.namelist()} == {
            "source_ravan_calcom",
            sdist.name.replace(".tar.gz", ".dist-info"),
        }
        data = [path for path in (copy / "source_ravan_calcom").rglob("*") if path.is_file()]
        assert {str(path.relative_to(copy)) for path in data} <= set(packed.namelist())
        page = packed.read(sdist.name.replace(".tar.gz", ".dist-info/METADATA")).decode()
    assert page.count("](https://docs.airbyte.com/integrations/sources/ravan-calcom#how-an-account-is-covered)") == 1
    assert re.findall(r"\]\((?!https://)|<img|<picture", page) == []
    with tarfile.open(sdist) as packed_source:
        held = {name.partition("/")[2] for name in packed_source.getnames()}
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", (copy / "README.md").read_text())
    assert {path.rstrip("/") for path in linked} <= held
    assert "integration_tests/test_tooling.py" in held
    [listed] = (copy / "dist").glob("*.cdx.json")
    components = {f"{each['name']}=={each['version']}" for each in json.loads(listed.read_text())["components"]}
    assert components == set(re.findall(r"^\S+==[^ ;]+", (copy / "requirements.lock").read_text(), re.MULTILINE))


ENDS = [("sys.exit(3)", 3), ("os._exit(3)", 3), ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM)]


@pytest.mark.parametrize(("end", "code"), ENDS)
def test_coverage_of_a_process_is_saved_however_it_ends(tmp_path, end, code):
    script = f"""
import os, signal, sys
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "airbyte_cdk.models":
            print("traced" if sys.gettrace() else "not traced")
sys.meta_path.insert(0, Spy())
from source_ravan_calcom import main
try:
    main.main(["nonsense"])
except SystemExit:
    {end}
"""
    measured = {"PYTHONPATH": str(SCRIPTS / "coverage"), "COVERAGE_FILE": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={**ENVIRONMENT, **measured}
    )
    assert done.returncode == code
    assert done.stdout.startswith("not traced\n"), "the CDK's imports are not traced, because it takes too long"
    assert "nonsense" in done.stderr
    [file] = tmp_path.iterdir()
    data = CoverageData(str(file))
    data.read()
    assert data.has_arcs(), "branches are measured"
    module = ROOT / "source_ravan_calcom" / "main.py"
    lines = module.read_text().splitlines()
    seen = [lines[number - 1].strip() for number in data.lines(str(module))]
    assert {"import gc", "gc.freeze()"} <= set(seen), "lines before and after the import of the CDK are measured"
    assert all(module.parent in Path(path).parents for path in data.measured_files())


def test_git_ignores_files_with_tokens_or_attendees_and_generated_files(copy):
    def status() -> list[str]:
        command = ["git", "status", "--porcelain", "--untracked-files=all"]
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True).stdout.splitlines()

    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    before = status()
    private = ["config.json", "examples/state.json", "catalog.json", "secrets/sandbox.json", "data/appointments.jsonl"]
    made = [
        "my.duckdb",
        "my.duckdb.wal",
        ".coverage/data.1",
        ".tmp/test.py",
        "build/x",
        "dist/x.whl",
        ".python/bin/python",
    ]
    for name in [*private, *made]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).touch()
    assert status() == before
