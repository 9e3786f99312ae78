"""``horus-trio demo``: a robot among real processes that are slow, fail, hang up and die.

`command` is the way in. The world is `firmware` (an inertial sensor on a serial line), `weather`
(an HTTP server) and `sonar` (a sensor that falls silent), each a process of its own that `world`
starts and reaps. `robot` is the program under test; ``examples/demo_robot.py`` is another with its
nodes.
"""
