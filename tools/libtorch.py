#!/usr/bin/env python3
"""Puts PyTorch's C++ libraries (libtorch) into .libtorch/, where Cargo finds them.

Only what the CPU needs is kept, out of the wheels that PyPI has. Run again, it does nothing; broken
off, it starts over; every download is checked by its hash. A LIBTORCH or LIBTORCH_USE_PYTORCH of your
own is honoured, and then nothing is downloaded.

  python3 tools/libtorch.py            provision
  python3 tools/libtorch.py --verify   check the hash of every library, and repair
  python3 tools/libtorch.py --check    say whether it is there (exit code 1 if not), change nothing
"""

import argparse
import fcntl
import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import zipfile

VERSION = "2.11.0"
KEPT_BYTES = 515_000_000

# name, version, hash, size in bytes, files to keep (path in the wheel, path here)
WHEELS = [
    (
        "torch",
        VERSION,
        "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
        530_604_548,
        {
            "torch/lib/libtorch_cpu.so": "lib/libtorch_cpu.so",
            "torch/lib/libc10.so": "lib/libc10.so",
            "torch/lib/libgomp.so.1": "lib/libgomp.so.1",
        },
    ),
    (
        "nvidia-cuda-cupti",
        "13.0.85",
        "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        10_715_597,
        {"nvidia/cu13/lib/libcupti.so.13": "lib/libcupti.so.13"},
    ),
    (
        "nvidia-cuda-runtime",
        "13.0.96",
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        2_243_632,
        {"nvidia/cu13/lib/libcudart.so.13": "lib/libcudart.so.13"},
    ),
]
PLATFORMS = ["manylinux_2_28", "manylinux_2_27", "manylinux_2_25", "manylinux_2_17", "manylinux2014"]
ROOT = pathlib.Path(__file__).resolve().parent.parent


def fail(problem, help_text):
    sys.exit(f"libtorch: {problem}\n  = help: {help_text}")


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else digest(file)


def digest(file):
    value = hashlib.sha256()
    for part in iter(lambda: file.read(1 << 20), b""):
        value.update(part)
    return value.hexdigest()


def own_libtorch():
    """True where the user brings libtorch along; an error where it is not the version we need."""
    if os.environ.get("LIBTORCH_USE_PYTORCH"):
        print("libtorch: LIBTORCH_USE_PYTORCH is set, so the PyTorch of your Python is used")
        return True
    place = os.environ.get("LIBTORCH")
    if not place or pathlib.Path(place).resolve() == (ROOT / ".libtorch").resolve():
        return False
    place = pathlib.Path(place)
    if not (place / "lib").is_dir() or not (place / "include").is_dir():
        fail(f"LIBTORCH is {place}, which has no lib/ and include/", "correct it, or unset it")
    found = None
    if (place / "build-version").is_file():
        found = (place / "build-version").read_text().strip().split("+")[0]
    if found and found != VERSION and not os.environ.get("LIBTORCH_BYPASS_VERSION_CHECK"):
        fail(f"LIBTORCH is {place} of version {found}; this project needs {VERSION}", "install that, or unset LIBTORCH")
    print(f"libtorch: LIBTORCH is {place}" + (f" ({found})" if found else " (its version is not stated)"))
    return True


def state(target, full):
    """None where all is in place; otherwise what is wrong."""
    try:
        manifest = json.loads((target / "manifest.json").read_text())
    except (OSError, ValueError):
        return "not there yet"
    if manifest.get("version") != VERSION:
        return f"version {manifest.get('version')} is there, {VERSION} is needed"
    if not (target / "licences/torch").is_dir():
        return "the licences of the libraries are missing"
    for name, known in manifest["files"].items():
        path = target / name
        if not path.is_file() or path.stat().st_size != known["bytes"]:
            return f"{name} is missing or cut off"
        if full and sha256(path) != known["sha256"]:
            return f"{name} is damaged"
    return None


def download(folder):
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{name}=={version} --hash=sha256:{value}\n" for name, version, value, _, _ in WHEELS))
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes",
               "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none",
               "--disable-pip-version-check", "--dest", str(folder), "-r", str(requirements)]
    for name in PLATFORMS:
        command += ["--platform", f"{name}_x86_64"]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        fail("this Python has no pip", "install it (Debian: apt install python3-pip), or set LIBTORCH")
    if subprocess.run(command, stdout=sys.stderr).returncode:
        fail("the download failed (see above)",
             "check the network and run it again; or install libtorch " + VERSION + " yourself and set LIBTORCH")
    for wheel in folder.glob("*.whl"):
        yield wheel


def is_licence(member):
    """Whether a file of a wheel is a licence or a notice: an archive with the libraries has to carry them."""
    name = pathlib.PurePath(member).name.lower()
    return ".dist-info/" in member and not member.endswith("/") and name.startswith(("license", "licence", "notice", "copying"))


def build(partial):
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "lib").mkdir(parents=True)
    wheels = partial / "wheels"
    wheels.mkdir()
    for wheel in download(wheels):
        keep = next(files for name, *_, files in WHEELS if wheel.name.startswith(name.replace("-", "_") + "-"))
        with zipfile.ZipFile(wheel) as contents:
            for member in contents.namelist():
                if member in keep:
                    place = partial / keep[member]
                elif member.startswith("torch/include/") and not member.endswith("/"):
                    place = partial / member[len("torch/"):]
                elif is_licence(member):
                    place = partial / "licences" / wheel.name.split("-")[0] / pathlib.Path(member).name
                else:
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                with contents.open(member) as source, open(place, "wb") as to:
                    shutil.copyfileobj(source, to, 1 << 20)
        wheel.unlink()
    shutil.rmtree(wheels)
    # The crate links `-ltorch`; with this script in its place the CPU library alone is enough.
    (partial / "lib/libtorch.so").write_text("INPUT(-ltorch_cpu)\n")
    (partial / "build-version").write_text(VERSION + "\n")
    files = {}
    for path in sorted((partial / "lib").iterdir()):
        files[f"lib/{path.name}"] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    missing = [place for _, _, _, _, keep in WHEELS for place in keep.values() if place not in files]
    missing += [f"licence of {name}" for name, *_ in WHEELS if not (partial / "licences" / name.replace("-", "_")).is_dir()]
    if missing:
        fail(f"the wheels hold no {', '.join(missing)}", "please report this")
    (partial / "manifest.json").write_text(json.dumps({"version": VERSION, "files": files}, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether it is there")
    parser.add_argument("--verify", action="store_true", help="check hashes, repair what is damaged")
    parser.add_argument("--dir", type=pathlib.Path, default=ROOT / ".libtorch", help="where it goes")
    arguments = parser.parse_args()
    target = arguments.dir
    if own_libtorch():
        return
    problem = state(target, arguments.verify)
    if problem is None:
        print(f"libtorch: {VERSION} is ready")
        return
    if arguments.check:
        sys.exit(f"libtorch: {problem}")
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "AMD64"):
        fail(f"{platform.system()} on {platform.machine()} is not provided for",
             f"install libtorch {VERSION} yourself and set LIBTORCH to it")
    partial = target.with_name(target.name + ".partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_name(target.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        problem = state(target, arguments.verify)  # another run may have done it meanwhile
        if problem is None:
            print(f"libtorch: {VERSION} is ready")
            return
        size = sum(size for *_, size, _ in WHEELS)
        free = shutil.disk_usage(target.parent).free
        if free < size + KEPT_BYTES + (50 << 20):
            fail(f"{free >> 20} MiB are free, {(size + KEPT_BYTES) >> 20} are needed", "free some space")
        print(f"libtorch: {problem}; downloading {size / 1e6:.0f} MB from PyPI ("
              + ", ".join(f"{name} {version}" for name, version, *_ in WHEELS)
              + f"); {KEPT_BYTES / 1e6:.0f} MB stay in {target}", flush=True)
        try:
            build(partial)
        except OSError as error:
            fail(str(error), "free some space or correct the permissions, and run it again")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    print(f"libtorch: {VERSION} is ready")


if __name__ == "__main__":
    main()
