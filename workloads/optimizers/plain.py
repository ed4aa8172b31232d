"""Our optimizers as one of torch's, for any script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import StateDict

from workloads.optimizers.factory import algorithm_of
from workloads.optimizers.layout import Unit
from workloads.optimizers.optimizer import Group, Optimizer
from workloads.optimizers.spec import ELEMENTWISE, SPECS
from workloads.workload import Resolved

_WANTS_MORE = {
    "sophia": "reads gradients on labels that are sampled from the model; use it in a workload, "
    "or another optimizer here",
    "muonclip": "scales down queries and keys by attention logits, which a script does not show "
    "it; use muon, which is what is left of it",
}


class PlainOptimizer(torch.optim.Optimizer):
    """Drives groups of parameters, each by the algorithm of its ``optimizer``.

    W <- W - lr * (U + weight_decay * W), with U the algorithm's, and lr and weight_decay those of
    the group now, so that torch's schedulers work as ever. A matrix is a parameter of two
    dimensions; more are flattened to outputs and inputs, as a convolution's are. Parameters
    without a gradient are left alone.
    """

    def __init__(self, groups: list[dict[str, Any]], plan: Resolved) -> None:
        """Takes groups.

        Args:
            groups: with ``params``, ``lr``, ``weight_decay``, ``optimizer`` and, where it has
                any, its epsilons (``eps`` and those of more names).
            plan: settings of the optimizers, completed, and what follows from them.

        Raises:
            ValueError: an algorithm needs what a script does not give it.
        """
        self._plan = plan
        self._parts: dict[Tensor, Optimizer] = {}
        self._weights: dict[Tensor, dict[str, Tensor]] = {}
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0, "steps": 0})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Takes one more group.

        Raises:
            ValueError: it names no optimizer, or one that needs what a script does not give it.
        """
        name = param_group.get("optimizer")
        if name not in SPECS:
            raise ValueError(f"a group needs its optimizer, one of {', '.join(SPECS)}")
        if name in _WANTS_MORE:
            raise ValueError(f"optimizer {name} {_WANTS_MORE[name]}")
        super().add_param_group(param_group)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Makes one update of every parameter that has a gradient.

        Args:
            closure: computes the loss again, with its gradients, and returns it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    if parameter.grad.layout != torch.strided:
                        shape = "x".join(map(str, parameter.shape))
                        raise ValueError(
                            f"a gradient of shape {shape} is sparse, which no optimizer here "
                            "takes; make its embedding with sparse=False"
                        )
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: Mapping[str, Any]) -> None:
        part = self._part(parameter, group)
        state = self.state[parameter]
        state["step"] += 1
        part.set_weight_decay(float(group["weight_decay"]))
        # a copy, since updates may overwrite it, and a script may look at it afterwards
        gradient = parameter.grad.detach().clone()  # type: ignore[union-attr]
        part.step(
            {"w": _stacked(gradient, group["optimizer"])},
            scale=float(group["lr"]),
            step=int(state["step"]),
        )

    def _part(self, parameter: Tensor, group: Mapping[str, Any]) -> Optimizer:
        """Returns what drives a parameter; made when it has its first gradient."""
        if parameter not in self._parts:
            name = group["optimizer"]
            epsilons = {
                each: (float(group["eps" if each == "epsilon" else each]),)
                for each in SPECS[name].epsilons
                if ("eps" if each == "epsilon" else each) in group
            }
            settings = Group(
                units=(Unit(names=("w",)),),
                learning_rates=(1.0,),
                weight_decays=(float(group["weight_decay"]),),
                epsilons=epsilons,
            )
            weights = {"w": _stacked(parameter.detach(), name)}
            self._weights[parameter] = weights
            algorithm = algorithm_of(name, group.get("role", "hidden"), self._plan)
            part = Optimizer(weights, settings, algorithm)
            self._parts[parameter] = part
            self.state[parameter] = {"step": 0, **part.state(0)}
        return self._parts[parameter]

    def state_dict(self) -> StateDict:
        """Returns groups and state as torch's optimizers do."""
        for parameter, part in self._parts.items():
            self.state[parameter] = {"step": self.state[parameter]["step"], **part.state(0)}
        return super().state_dict()

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Takes groups and state of :meth:`state_dict`, in the number format that they have.

        Raises:
            ValueError: they are of other groups, or of other algorithms.
        """
        kept = deepcopy(state_dict)
        super().load_state_dict({**kept, "state": {}})
        self.state.clear()
        self._parts.clear()
        parameters = [each for group in self.param_groups for each in group["params"]]
        groups = [group for group in self.param_groups for _ in group["params"]]
        for index, saved in kept["state"].items():
            parameter, group = parameters[index], groups[index]
            views = self._part(parameter, group).state(0)
            tensors = {name: each for name, each in saved.items() if name != "step"}
            if views.keys() != tensors.keys():
                raise ValueError("the state is of another algorithm; build the same optimizer")
            for name, each in views.items():
                each.copy_(tensors[name])
            self.state[parameter]["step"] = saved["step"]


def _stacked(tensor: Tensor, optimizer: str) -> Tensor:
    """Returns a view with a leading member: [1, ...], or [1, out, in] for an algorithm that
    needs matrices."""
    if optimizer in ELEMENTWISE:
        return tensor[None]
    return tensor.flatten(1)[None]
