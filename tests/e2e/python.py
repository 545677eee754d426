"""Installs Python packages into a virtual environment outside the source tree."""

import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent


def install(name, *packages):
    """Returns the interpreter of an environment with these packages."""
    target = pathlib.Path(tempfile.gettempdir()) / f"tower-bearer-{name}"
    interpreter = target / "bin/python"
    required = "\n".join(packages)
    # Written last, so that an interrupted installation starts again.
    complete = target / "installed.txt"
    if not complete.exists() or complete.read_text() != required:
        subprocess.run([sys.executable, "-m", "venv", "--clear", target], check=True, timeout=300)
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(pip, check=True, timeout=300)
        complete.write_text(required)
    return interpreter
