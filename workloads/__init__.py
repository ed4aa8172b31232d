"""Workloads: models that train; free of sweeper, which plans and analyses them."""
