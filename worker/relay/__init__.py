"""The relay: it tells teams which tickets are theirs, on their streams and by webhooks."""
