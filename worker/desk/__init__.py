"""What people do to rows, for the command line, the REST API and the web pages alike. What workers do is not here."""
