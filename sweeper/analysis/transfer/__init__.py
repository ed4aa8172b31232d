"""What transfer costs and when it pays: regret, gaps, rates, the verdict, advice."""
