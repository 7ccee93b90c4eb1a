"""The wheel holds everything and works away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_wheel_brings_its_configuration(tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, timeout=550)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert f"aspire/conf/{path.relative_to(ROOT / 'conf').as_posix()}" in names
    model = "weights/tiny-sd/unet/diffusion_pytorch_model.safetensors"
    for data in ("language/scenes.yaml", "reporting/report.html.j2", "py.typed", model):
        assert f"aspire/{data}" in names
    assert not [n for n in names if n.startswith(("conf/", "tests/", "outputs/"))]
    assert wheel.stat().st_size < 40e6

    elsewhere = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(elsewhere)
    code = "import aspire, sys; from aspire.cli import main; print(aspire.__file__);"
    code += "sys.exit(main(['train', '--cfg', 'job', 'baseline=groupdro']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(elsewhere)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(elsewhere) in done.stdout
    assert "aspire.baselines.groupdro.GroupDRO" in done.stdout
