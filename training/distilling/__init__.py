"""Distillation: a teacher and texts in, a smaller model that answers as it does out."""
