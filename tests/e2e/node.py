"""Installs Node.js packages outside the source tree, beside a copy of the script that uses them."""

import pathlib
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent


def install(name):
    """Returns a folder with the scripts of `name/` and the packages of its `package.json`."""
    target = pathlib.Path(tempfile.gettempdir()) / f"tower-bearer-{name}"
    target.mkdir(exist_ok=True)
    required = (HERE / name / "package.json").read_text()
    # Written last, so that an interrupted installation starts again.
    complete = target / "installed.json"
    if not complete.exists() or complete.read_text() != required:
        (target / "package.json").write_text(required)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        subprocess.run(command, cwd=target, check=True, timeout=300)
        complete.write_text(required)
    for script in (HERE / name).glob("*.mjs"):
        shutil.copy(script, target)
    return target
