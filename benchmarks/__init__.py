"""What Fenliu says of its own speed, measured: each module is one benchmark, results are files they write."""
