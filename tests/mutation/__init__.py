"""Mutation testing: small faults are put into the engine, and its tests are expected to notice.

``python -m mutation --help`` says more. `places` finds where a fault can be, `operators` makes it,
`selection` knows which tests come by there, `trial` runs those, and `campaign` does that for many.
"""
