"""Fine-tuning: a file of labelled texts and a base in, a model folder that the worker can load out."""
