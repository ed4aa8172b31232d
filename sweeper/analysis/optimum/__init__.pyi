"""From measured losses to the optimum of one scale: curve, window, estimators, noise, interval."""

from .cliff import BlowUp as BlowUp
from .cliff import without_blow_ups as without_blow_ups
from .curve import Curve as Curve
from .curve import Floats as Floats
from .curve import measured_curves as measured_curves
from .curve import require_columns as require_columns
from .estimators import DEFAULT as DEFAULT
from .estimators import Estimator as Estimator
from .estimators import Reading as Reading
from .estimators import estimator_named as estimator_named
from .interval import interval_round as interval_round
from .interval import quantile_interval as quantile_interval
from .interval import rival_of as rival_of
from .interval import robust_sd as robust_sd
from .interval import stretch as stretch
from .locate import best_readings as best_readings
from .locate import require_minimum as require_minimum
from .noise import LEAST_REPLICATE_DOF as LEAST_REPLICATE_DOF
from .noise import REPLICATED as REPLICATED
from .noise import Noise as Noise
from .noise import error_of as error_of
from .noise import pooled_noise as pooled_noise
from .optimum import Estimate as Estimate
from .optimum import Optimum as Optimum
from .sites import SiteOptimum as SiteOptimum
from .window import Bools as Bools
