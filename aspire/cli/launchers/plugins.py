"""Installed as ``hydra_plugins.aspire``, the only place where Hydra looks for launchers."""

from aspire.cli.launchers.joblib_pool import JoblibLauncher
from aspire.cli.launchers.ray_tasks import RayLauncher
from aspire.cli.launchers.slots import SlotsLauncher
from aspire.cli.launchers.submitit_jobs import SubmititLauncher

__all__ = ["JoblibLauncher", "RayLauncher", "SlotsLauncher", "SubmititLauncher"]
