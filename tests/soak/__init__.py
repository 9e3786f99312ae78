"""The soak: a robot of sixty nodes lives for minutes, and is judged by what it has used up.

Three processes. The *world* is the other end of every device. The *robot* runs the nodes and tells
once a second how it is. The *watch* starts both, writes down what the robot tells, and judges; so
nothing that is kept for the judgement is in the memory that is judged.
"""
