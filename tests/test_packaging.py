"""The distribution: what it lists, what it loads, and whether each way of installing it works outside the clone."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"pnp": "pnp", "pnp.operators": "operators", "pnp.priors": "priors"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def modules() -> set[str]:
    """Every module of the tree by the name it is imported under, packages without ``.__init__``; links not followed."""
    found = set()
    for package, folder in FOLDERS.items():
        for parent, names, files in os.walk(ROOT / folder):
            names[:] = [name for name in names if (Path(parent) / name / "__init__.py").exists()]
            names[:] = [name for name in names if not (Path(parent) / name).is_symlink()]
            inside = Path(parent).relative_to(ROOT / folder).parts
            stems = {Path(file).stem for file in files if file.endswith(".py")}
            found |= {".".join([package, *inside, stem]).removesuffix(".__init__") for stem in stems}
    return found


def sources() -> list[Path]:
    """The Python files of the installed packages."""
    return [path for folder in FOLDERS.values() for path in (ROOT / folder).rglob("*.py") if not linked(path)]


def linked(path: Path) -> bool:
    return path != path.resolve()


def python(code: str, *options: str, cwd: Path, path: Path | None = None) -> str:
    """What a fresh interpreter prints, started outside the clone."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    call = [sys.executable, *options, "-c", code]
    done = subprocess.run(call, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.strip()


# What is listed


def test_package_list_is_the_tree():
    """A package that is on disk but not in pyproject.toml would be missing from every wheel."""
    parents = {name.rpartition(".")[0] for name in modules()} - {""}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == parents
    assert PROJECT["tool"]["setuptools"]["package-dir"] == FOLDERS


@pytest.mark.parametrize("name", ["operators", "priors"])
def test_links_are_relative(name):
    link = ROOT / "pnp" / name
    if not link.is_symlink():
        pytest.skip("this copy of the tree lost its links; an installed copy does not read them")
    assert os.readlink(link) == f"../{name}"


def test_version_is_written_once():
    """pyproject.toml, the package and the topmost release of the change log agree, and only version.py says it."""
    source = (ROOT / "pnp/version.py").read_text(encoding="utf-8")
    version = re.search(r'__version__ = "([^"]+)"', source).group(1)
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "pnp.version.__version__"}
    assert re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[0] == version
    repeated = [path for path in sources() if path.name != "version.py" and f'"{version}"' in path.read_text("utf-8")]
    assert not repeated


def test_the_licensed_binary_is_loaded_on_request_only(tmp_path):
    """The package ``bm3d`` may not be used commercially: only ``backend="reference"`` imports it."""
    importers = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if {name.partition(".")[0] for name in names} & {"bm3d", "bm4d"}:
                importers.add(path.relative_to(ROOT))
                assert node.col_offset > 0, f"{path} imports it at module level"
    assert importers <= {Path("priors/bm3d/reference.py")}
    code = "import sys, torch; from pnp.priors import BM3D; BM3D().denoise(torch.rand(1, 24, 24), 0.1);"
    code += "print({'bm3d', 'bm4d'} & set(sys.modules))"
    assert python(code, cwd=tmp_path, path=ROOT) == "set()"


def test_pictures_in_the_repository_say_where_they_come_from():
    """The only committed pictures are results of this project; SOURCES.md or the page that shows one says how."""
    call = ["git", "-C", str(ROOT), "ls-files"]
    listing = subprocess.run(call, capture_output=True, text=True, check=False).stdout.splitlines()
    suffixes = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".mat", ".npy", ".npz", ".pgm")
    pictures = [Path(name) for name in listing if name.lower().endswith(suffixes)]
    results = Path("docs/results/images")
    assert {path.parent for path in pictures} <= {Path("docs/images"), results}
    for path in pictures:
        told = ROOT / "docs/results" / f"{path.stem}.md" if path.parent == results else ROOT / "docs/images/SOURCES.md"
        assert path.name in told.read_text(encoding="utf-8")


# What is loaded


def test_import_loads_torch_and_numpy_only(tmp_path):
    """What ``import pnp`` adds to ``import torch, numpy`` is itself and the standard library."""
    code = (
        "import sys, torch, numpy; before = set(sys.modules); import pnp;"
        "old, new = ({name.partition('.')[0] for name in names} for names in (before, set(sys.modules) - before));"
        "print(*sorted(new - old - set(sys.stdlib_module_names)))"
    )
    assert python(code, cwd=tmp_path, path=ROOT) == "pnp"


def test_catalogues_load_no_optional_package(tmp_path):
    """Nor do the catalogues, so that a missing numba or matplotlib never breaks an import."""
    code = "import sys, torch, numpy; before = set(sys.modules); import pnp, pnp.operators, pnp.priors, pnp.testing;"
    code += "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    optional = {
        "bm3d",
        "bm4d",
        "numba",
        "matplotlib",
        "pandas",
        "pywt",
        "dask",
        "zarr",
        "tqdm",
        "skimage",
        "pylops",
        "scipy",
    }
    assert not set(python(code, cwd=tmp_path, path=ROOT).split()) & optional


@pytest.mark.parametrize("name", ["operators", "priors", "priors.bm3d"])
def test_folders_refuse_their_bare_name(name, tmp_path):
    code = f"try:\n    import {name}\nexcept ImportError as error:\n    print(error)"
    assert f"imported as pnp.{name.partition('.')[0]}" in python(code, cwd=tmp_path, path=ROOT)


# Each way of installing; no network: the build runs in this environment and dependencies are already there

BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))"
LOADED = (
    "import importlib, sys, pnp; [importlib.import_module(name) for name in sys.argv[1:]];"
    "from pnp.operators import Blur; from pnp.priors import TV; from pathlib import Path;"
    "print(Path(pnp.__file__).resolve().parent.parent); print(sys.modules['pnp.operators.blur'].__file__)"
)


def tree(target: Path, links: str) -> Path:
    """A copy of what a clone holds, its two links kept, lost, or turned into text files as on Windows."""
    for name in (*FOLDERS.values(), "tests", "benchmarks", "docs"):
        skip = shutil.ignore_patterns("__pycache__", "_build", "*.nb[ic]")
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=skip)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, target / name)
    for name in ("operators", "priors"):
        link = target / "pnp" / name
        if links != "kept":
            link.unlink(missing_ok=True)
        if links == "text":
            link.write_text(f"../{name}", encoding="utf-8")
    return target


def build(kind: str, source: Path, out: Path) -> Path:
    out.mkdir(exist_ok=True)
    call = [sys.executable, "-c", BUILD, kind, str(out)]
    done = subprocess.run(call, cwd=source, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return out / done.stdout.split()[-1]


def install(wheel: Path, site: Path) -> Path:
    call = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(call, check=True, capture_output=True, timeout=300)
    return site


def load_everything(site: Path, cwd: Path) -> tuple[Path, Path]:
    """Import every module with ``site`` as the site directory; where the library and one operator were found."""
    cwd.mkdir()
    names = sorted(name for name in modules() if "strategies" not in name)
    start = f"import site, sys; site.addsitedir({str(site)!r}); sys.path.append({sysconfig.get_path('purelib')!r});"
    arguments = f"sys.argv[1:] = {names!r};"
    # -S: an editable install of this very clone must not be found first
    library, operator = python(start + arguments + LOADED, "-S", cwd=cwd).splitlines()
    return Path(library), Path(operator)


@pytest.mark.slow
@pytest.mark.parametrize("links", ["kept", "lost", "text"])
def test_wheel_works_outside_the_clone(tmp_path, links):
    source = tree(tmp_path / "source", links)
    wheel = build("wheel", source, tmp_path / "dist")
    inside = {name for name in ZipFile(wheel).namelist() if name.endswith(".py")}
    assert {name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in inside} == modules()
    assert "pnp/py.typed" in ZipFile(wheel).namelist()
    site = install(wheel, tmp_path / "site")
    assert load_everything(site, tmp_path / "elsewhere")[0] == site.resolve()


@pytest.mark.slow
def test_sdist_makes_the_same_wheel(tmp_path):
    source = tree(tmp_path / "source", "kept")
    direct = build("wheel", source, tmp_path / "direct")
    sdist = build("sdist", source, tmp_path / "dist")
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert (unpacked / "tests/test_packaging.py").exists()
    wheel = build("wheel", unpacked, tmp_path / "wheel")
    assert contents(wheel) == contents(direct)
    site = install(wheel, tmp_path / "site")
    assert load_everything(site, tmp_path / "elsewhere")[0] == site.resolve()


def contents(wheel: Path) -> dict[str, bytes]:
    archive = ZipFile(wheel)
    return {name: archive.read(name) for name in archive.namelist() if "dist-info" not in name}


@pytest.mark.slow
@pytest.mark.parametrize("links", ["kept", "lost", "text"])
def test_editable_install_works_outside_the_clone(tmp_path, links):
    source = tree(tmp_path / "source", links)
    site = install(build("editable", source, tmp_path / "dist"), tmp_path / "site")
    library, operator = load_everything(site, tmp_path / "elsewhere")
    assert library == source.resolve()
    assert operator.resolve() == (source / "operators/blur.py").resolve()
