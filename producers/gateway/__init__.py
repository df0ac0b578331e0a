"""The REST API: requests in, items into the inbox, replies out. It loads no model and runs no worker."""
