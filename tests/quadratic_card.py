"""A small workload card for tests of planning: a quadratic loss with a known optimum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workloads.workload import Config, Problem, Resolved, Setting, TrainerFactory, applies

SETTINGS = (
    Setting(name="width", kind="int", doc="Units.", required=True, low=1),
    Setting(name="head_dim", kind="int", doc="Units a head.", default=16, low=1),
    Setting(name="steps", kind="int", doc="Optimizer steps.", default=None, optional=True, low=1),
    Setting(name="tokens", kind="int", doc="Tokens.", default=None, optional=True, low=1),
    Setting(
        name="optimizer",
        kind="choice",
        doc="The optimizer.",
        default="adamw",
        choices=("adamw", "muon"),
    ),
    Setting(
        name="parametrization",
        kind="choice",
        doc="The parametrization.",
        default="sp",
        choices=("sp", "mup"),
    ),
    Setting(name="base_width", kind="int", doc="Base width.", optional=True, low=1),
    Setting(
        name="learning_rate",
        kind="float",
        doc="Learning rate.",
        required=True,
        low=0.0,
        low_open=True,
        packable=True,
    ),
    Setting(name="weight_decay", kind="float", doc="Decay.", default=0.0, low=0.0, packable=True),
    Setting(
        name="momentum",
        kind="float",
        doc="Momentum of Muon.",
        default=0.95,
        low=0.0,
        high=1.0,
        when={"optimizer": ("muon",)},
    ),
    Setting(name="nesterov", kind="bool", doc="Nesterov.", default=True),
    Setting(name="data", kind="text", doc="The corpus.", default="sotu"),
)


@dataclass(frozen=True)
class QuadraticCard:
    """Loss (log2 learning_rate + 4)^2, for tests."""

    name: str = "quadratic"
    version: str = "1.0.0"
    doc: str = "A quadratic."
    settings: tuple[Setting, ...] = SETTINGS

    @property
    def metrics(self) -> Mapping[str, str]:
        return {"val_loss": "Nats.", "train_loss": "Nats."}

    def problems(self, config: Config) -> list[Problem]:
        found = []
        head_dim = config.get("head_dim", 16)
        if config["width"] % head_dim:
            found.append(
                Problem(
                    keys=("width", "head_dim"),
                    message=f"width {config['width']} is not a multiple of head_dim {head_dim}",
                )
            )
        given = [key for key in ("steps", "tokens") if config.get(key) is not None]
        if len(given) != 1:
            found.append(
                Problem(keys=("steps", "tokens"), message=f"one horizon is needed, not {given}")
            )
        if config.get("parametrization") == "mup" and config.get("base_width") is None:
            found.append(Problem(keys=("base_width",), message="mup requires base_width"))
        return found

    def resolve(self, config: Config) -> Resolved:
        full = {setting.name: setting.default for setting in SETTINGS} | dict(config)
        kept = {s.name: full[s.name] for s in SETTINGS if applies(s, full)}
        if kept["parametrization"] == "sp":
            kept.pop("base_width")
        return Resolved(config=kept, derived={"params": full["width"], "steps": full["steps"]})

    def data_fingerprint(self, config: Config) -> str:
        return "none"

    def pack_size(self, config: Config, device: str) -> int:
        return 4

    def trainer(self) -> TrainerFactory:
        raise NotImplementedError("the quadratic is planned, never trained")


CARD = QuadraticCard()
