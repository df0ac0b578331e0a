"""What runs in a peer's own process and environment. Imports nothing of Fenliu but its neighbours in this folder."""
