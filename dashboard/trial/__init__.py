"""Try it: a text or a file in, labels and scores out, through the inbox as in production."""
