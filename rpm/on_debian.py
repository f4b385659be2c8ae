# SPDX-License-Identifier: MPL-2.0
"""What pyproject-rpm-macros do on Fedora, as far as our spec asks for it; run by rpm/debian.macros in the unpacked source."""

from __future__ import annotations

import pkgutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile
from packaging.requirements import Requirement

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())


def buildrequires(*extras: str) -> Iterator[str]:
    """The requirements of the build and, since the modules are imported by %check, those of running it."""
    project = PROJECT["project"]
    wanted = [*PROJECT["build-system"]["requires"], *project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate():
            name = f"python3dist({requirement.name.lower()})"
            yield " with ".join(f"{name} {each.operator} {each.version}" for each in requirement.specifier) or name


def place(root: str, site: str) -> Iterator[str]:
    """Install the wheel below `root` as rpm's Python does: below `site`, programs in /usr/bin."""
    scheme = {"purelib": root + site, "platlib": root + site, "scripts": f"{root}/usr/bin", "data": f"{root}/usr"}
    destination = SchemeDictionaryDestination(scheme, "/usr/bin/python3", "posix")
    [wheel] = Path("dist").glob("*.whl")
    with WheelFile.open(wheel) as source:
        install(source, destination, {"INSTALLER": b"rpm\n"})
    yield f"installed {wheel.name}"


def files(root: str, site: str) -> Iterator[str]:
    """The %files of what was installed below `site`; the licence is marked as one."""
    for path in sorted(Path(root + site).rglob("*")):
        if path.name == "RECORD":
            path.unlink()  # rpm knows better, and pip leaves alone what has none
            continue
        kind = "%dir " if path.is_dir() else "%license " if path.name == "LICENSE" else ""
        yield kind + str(path).removeprefix(root)


def import_all(site: str) -> Iterator[str]:
    """Import every module of what was installed."""
    sys.path.insert(0, site)
    package = import_module("kea_agent")
    for module in pkgutil.walk_packages(package.__path__, "kea_agent."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
            yield module.name


DOES: dict[str, Callable[..., Iterator[str]]] = {
    "buildrequires": buildrequires,
    "install": place,
    "files": files,
    "import": import_all,
}

if __name__ == "__main__":
    for line in DOES[sys.argv[1]](*sys.argv[2:]):
        print(line)
