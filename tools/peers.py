"""A throw-away Python environment with the peers that assay is compared with, at fixed versions."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ["implicit==0.7.3", "ir-measures==0.4.3", "ranx==0.3.21", "polars", "scipy", "numpy"]


def enter():
    """Runs the calling script again inside the environment, which is made where it is not there."""
    place = ROOT / ".venv"
    python = place / "bin/python"
    if pathlib.Path(sys.prefix).resolve() == place.resolve():
        return
    done = place / "peers.txt"
    if not done.is_file() or done.read_text() != "\n".join(PEERS):
        print(f"installing {', '.join(PEERS)} into {place}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS], check=True)
        done.write_text("\n".join(PEERS))
    sys.exit(subprocess.run([str(python), *sys.argv]).returncode)
