"""Who may come in: logging in, sessions, and the users that an administrator keeps."""
