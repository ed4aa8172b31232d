"""From optima to rules over the scales: drift, claims, held-out checks, predictions."""
