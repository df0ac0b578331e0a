"""Adapting a base to a domain: masked-language-model training on texts without labels, before fine-tuning."""
