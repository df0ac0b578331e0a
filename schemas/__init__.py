"""What every part of Fenliu agrees on: errors, settings, names, messages, labels, manifests, tables.

The ground floor. It imports nothing else of the project, and nothing in it opens a connection or a file
when imported.
"""
