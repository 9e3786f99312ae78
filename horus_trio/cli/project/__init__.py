"""What ``horus-trio new`` makes: the node file and the test file of a new project.

They are modules, so that they are checked like all others, and their text is what is copied. In the
copy the tests import the node file by the name that it has there.
"""
