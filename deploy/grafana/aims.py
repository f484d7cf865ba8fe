"""The numbers that the dashboards draw as lines and bands. In seconds, or shares of 1."""

#: In this time people answer each other.
HUMAN_S = (0.2, 0.3)
#: The latency budget of a turn.
BUDGET_S = 0.6
#: From here on a call feels broken.
BROKEN_S = 0.7
#: Turns that are answered before it does.
ANSWERED_IN_TIME = 0.99
#: Of voice to voice, what bus and router may take: median, p99.
BUS_S = (0.015, 0.04)
#: From the caller's first voice to a silent agent: median, p95.
BARGE_IN_S = (0.25, 0.4)
#: Answers that began while the caller was only pausing.
CUT_IN = 0.05
#: A frame of audio: an event loop that wakes up later than this delays the next one.
FRAME_S = 0.02
#: A piece of audio that the echo canceller takes at a time; it has to be faster than that.
HOP_S = 0.01
#: Used share of the slots at which there is little left, and at which there is nearly nothing left.
SLOTS_USED = (0.7, 0.9)
