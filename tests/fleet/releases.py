"""What the tests release: copies of model_endpoint with a new model, or with faults to choose from."""

import shutil
from pathlib import Path

from fleet.playbook import PROJECT


def new_model(folder: Path, version: str = "2") -> Path:
    """Make a copy whose iris model has another version, and return its path."""
    source = _copy(folder)
    _edit(source / "models/iris/model.yml", "version: '1'\n", f"version: '{version}'\n")
    return source


def with_faults(folder: Path) -> Path:
    """Make a copy that has the faults of faults.py, and return its path."""
    source = _copy(folder)
    # Its golden requests come by /predict, which faults are to spoil after the gate.
    shutil.rmtree(source / "models" / "penguins")
    package = source / "src" / "model_endpoint"
    shutil.copy(Path(__file__).with_name("faults.py"), package / "faults.py")
    main = package / "__main__.py"
    models = "from model_endpoint.models import model\n"
    _edit(main, models, f"from model_endpoint import faults\n{models}")
    _edit(main, "    app = create_app(", "    faults.install(settings, models)\n    app = create_app(")
    return source


def _copy(folder: Path) -> Path:
    return Path(shutil.copytree(PROJECT / "model_endpoint", folder / "model_endpoint"))


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times; these tests count on one"
    path.write_text(text.replace(old, new))
