"""When a training changed nothing: said by a run's verdict, the page and the gates alike.

Apart from the other thresholds of verdicts, which the page and the gates do not rest on.
"""

#: A loss on the same rows that changed by less than this share did not change.
NO_EFFECT = 0.005
