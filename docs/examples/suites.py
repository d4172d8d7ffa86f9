"""A file of suites: QMIX and VDN on the two-step game, two seeds each."""

from suites import TWO_STEP_GAME, lines

SUITES = {"vdn": lines(["two_step_game"], ["qmix", "my_vdn.py"], TWO_STEP_GAME, seeds=(1, 2))}
