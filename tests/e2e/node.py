"""Packages for Node.js, installed beside a copy of the script that uses them, out of the source tree."""

import pathlib
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent


def install(name):
    """Returns a folder with the scripts of `name/` and what its `package.json` asks for."""
    target = pathlib.Path(tempfile.gettempdir()) / f"tower-bearer-{name}"
    target.mkdir(exist_ok=True)
    wanted = (HERE / name / "package.json").read_text()
    # Written last, so that an installation that was cut off is begun anew.
    complete = target / "installed.json"
    if not complete.exists() or complete.read_text() != wanted:
        (target / "package.json").write_text(wanted)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        subprocess.run(command, cwd=target, check=True, timeout=300)
        complete.write_text(wanted)
    for script in (HERE / name).glob("*.mjs"):
        shutil.copy(script, target)
    return target
