"""Parametrizations: what each tensor is, and what a rule does to it; free of torch."""
