#!/usr/bin/env python3
"""Puts the built programs where they run without the checkout.

    python3 tools/dist.py install PREFIX    bin/, lib/assay/ and share/doc/assay/ in a directory
    python3 tools/dist.py archive           the same as target/dist/assay-VERSION-MACHINE.tar.gz, checked
    python3 tools/dist.py wheel             target/wheels/rec_assay-*.whl

The programs look for libtorch in `../lib/assay` (build.rs), so the directory may be moved. An archive is checked before
it is written: no path of this machine in the programs, no symbol that Debian 12 and Ubuntu 24.04 lack, no library that
they lack, and an experiment that trains runs from the unpacked archive in an empty environment.
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = ["assay", "assay-tensors"]
DOCUMENTS = ["README.md", "LICENSE-MIT", "CHANGELOG.md", "SECURITY.md"]
# Debian 12: glibc 2.36, GCC 12.2. Ubuntu 24.04 has later ones.
NEWEST = {"GLIBC": (2, 36), "GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13)}
# What every Debian and Ubuntu has.
SYSTEM = re.compile(r"(ld-linux-.*|lib(c|m|dl|pthread|rt|util|gcc_s|stdc\+\+))\.so\.\d+")
TRAINS = """experiment: trains
data: {set: sample, relevant: ">= 4"}
split: {scheme: official, only: [f1]}
systems:
  popularity: {model: popularity}
  als: {use: baselines/als.yaml}
  bprmf: {use: baselines/bprmf.yaml, training: {epochs: 2}}
evaluate: {k: [10]}
"""


def version():
    text = (ROOT / "Cargo.toml").read_text()
    return re.search(r'^version = "(.+)"', text, re.M).group(1)


def target():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def libraries():
    given = os.environ.get("LIBTORCH")
    place = (pathlib.Path(given) if given else ROOT / ".libtorch") / "lib"
    # `libtorch.so` of the wheel is a text for linkers.
    files = [path for path in sorted(place.glob("*.so*")) if path.read_bytes()[:4] == b"\x7fELF"]
    if not any(path.name == "libtorch_cpu.so" for path in files):
        sys.exit(f"{place} has no libtorch_cpu.so: run `make libtorch`")
    return files


def licences():
    """Licences of the libraries. Someone's own libtorch has its licence where it came from."""
    if os.environ.get("LIBTORCH"):
        return []
    files = sorted((ROOT / ".libtorch/licences").glob("*/*"))
    if not files:
        sys.exit(".libtorch has no licences: run `make libtorch`")
    return files


def copy(source, to, mode):
    to.parent.mkdir(parents=True, exist_ok=True)
    # Beside the old one and then in its place: a program that runs is not changed under it.
    new = to.with_name(to.name + ".new")
    shutil.copyfile(source, new)
    new.chmod(mode)
    new.replace(to)


def install(prefix):
    for name in PROGRAMS:
        copy(target() / "release" / name, prefix / "bin" / name, 0o755)
    for path in libraries():
        copy(path, prefix / "lib/assay" / path.name, 0o644)
    for path in licences():
        copy(path, prefix / "share/doc/assay/licences" / path.parent.name / path.name, 0o644)
    for name in DOCUMENTS:
        copy(ROOT / name, prefix / "share/doc/assay" / name, 0o644)
    for path in sorted((ROOT / "docs").glob("*.md")):
        copy(path, prefix / "share/doc/assay/docs" / path.name, 0o644)
    for path in sorted((ROOT / "examples").glob("*.*")):
        copy(path, prefix / "share/doc/assay/examples" / path.name, 0o644)


def dynamic(path):
    """What a program or library says to the dynamic loader: (tag, value)."""
    out = subprocess.run(["objdump", "-p", path], check=True, capture_output=True, text=True).stdout
    return re.findall(r"^\s+(NEEDED|RUNPATH|RPATH)\s+(.+?)\s*$", out, re.M)


def check_files(top):
    problems = []
    files = [*(top / "bin").iterdir(), *(top / "lib/assay").iterdir()]
    ours = {path.name for path in files}
    for path in files:
        for tag, value in dynamic(path):
            if tag == "NEEDED":
                if value not in ours and not SYSTEM.fullmatch(value):
                    problems.append(f"{path.name} needs {value}, which is not in the archive")
            else:
                bad = [part for part in value.split(":") if not part.startswith("$ORIGIN")]
                if bad and path.parent.name == "bin":
                    problems.append(f"{path.name} looks for libraries in {', '.join(bad)}")
        symbols = subprocess.run(["objdump", "-T", path], check=True, capture_output=True, text=True).stdout
        for name, found in set(re.findall(r"\((GLIBC|GLIBCXX|CXXABI)_([0-9.]+)\)", symbols)):
            if tuple(map(int, found.split("."))) > NEWEST[name]:
                problems.append(f"{path.name} needs {name}_{found}, which Debian 12 lacks")
    if problems:
        sys.exit("\n".join(problems))


def check_run(archive):
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(archive) as file:
            file.extractall(place, filter="data")
        (top,) = pathlib.Path(place).iterdir()
        work = pathlib.Path(place) / "work"
        work.mkdir()
        (work / "trains.yaml").write_text(TRAINS)
        bare = {"PATH": "/usr/bin:/bin", "HOME": str(work)}
        ended = subprocess.run(
            [top / "bin/assay", "run", "trains.yaml"], cwd=work, env=bare, capture_output=True, text=True
        )
        if ended.returncode != 0 or "bprmf" not in ended.stdout:
            sys.exit(f"the unpacked archive does not run: {ended.returncode}\n{ended.stdout}{ended.stderr}")


def archive():
    name = f"assay-{version()}-{platform.machine()}-linux"
    out = target() / "dist"
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{name}.tar.gz"
    with tempfile.TemporaryDirectory() as place:
        top = pathlib.Path(place) / name
        install(top)
        check_files(top)

        def plain(info):
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = "root"
            return info

        with tarfile.open(file, "w:gz", compresslevel=6) as tar:
            tar.add(top, name, filter=plain)
    check_run(file)
    print(f"{file} ({file.stat().st_size / 1e6:.0f} MB)")


def wheel():
    home = ROOT / ".venv-maturin"
    python = home / "bin/python"
    if not (home / "done").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "maturin==1.9.6"], check=True)
        (home / "done").write_text("")
    # libtorch is not put into the wheel: it comes with torch, the extra `train`.
    command = [home / "bin/maturin", "build", "--release", "--locked", "--auditwheel", "skip"]
    command += ["--compatibility", "manylinux_2_34"]
    subprocess.run(command, check=True, cwd=ROOT)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["install", prefix]:
            install(pathlib.Path(prefix))
            print(f"installed: {prefix}/bin/assay")
        case ["archive"]:
            archive()
        case ["wheel"]:
            wheel()
        case _:
            sys.exit(__doc__)
