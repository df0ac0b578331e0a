"""Dead letters: what could not be classified, to read, mend, replay or drop."""
