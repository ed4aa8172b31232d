"""The study file: read with its lines, checked against its workload, expanded to trials."""

from .plan import PlannedTrial as PlannedTrial
from .plan import Price as Price
from .plan import SecondsFrom as SecondsFrom
from .plan import expand as expand
from .plan import plan_trial as plan_trial
from .plan import plan_warnings as plan_warnings
from .plan import price as price
from .plan import remaining as remaining
from .plan import shape_digest as shape_digest
from .plan import shape_settings as shape_settings
from .plan import unique_trials as unique_trials
from .schema import study_schema as study_schema
from .searches import tuned_by as tuned_by
from .sections import Budget as Budget
from .settings import by_name as by_name
from .settings import canonical_value as canonical_value
from .settings import condition as condition
from .settings import siblings as siblings
from .source import scalar as scalar
from .study import Study as Study
from .study import load_study as load_study
from .template import study_template as study_template
from .workloads import find_card as find_card
