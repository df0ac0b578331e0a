"""The soak: mixed traffic for half an hour, everything looked at every ten seconds, and what grows found."""
