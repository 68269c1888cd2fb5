"""How sure a prediction is: predictive distributions, and intervals and sets that cover what they promise."""
