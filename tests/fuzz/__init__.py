"""Bad input of every kind, made by hypothesis: nothing crashes, nothing is lost, messages name the field.

A few hundred examples each in `make test`, the same ones every time; `make fuzz` tries many more, other ones each time.
"""
