"""Chaos: generated robots in which everything happens at once, and the laws that hold all the same.

A *plan* is a robot as plain data, made from a seed. *Nodes* act it out, *intruders* meddle with it
while it runs, and the *diary* takes down what really happened. The *laws* are pure functions of
that. A *campaign* plays many robots in processes of their own, says how they were distributed, and
makes a plan smaller that breaks a law: ``nox -s chaos``.
"""
