"""The worker's commands, one module per noun; `fenliu.py` knows where each lives."""
