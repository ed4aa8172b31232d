"""The ``mlp`` workload: a perceptron on labelled images."""
