"""Breaking Fenliu on purpose: real processes, random faults with a printed seed, checks by SQL afterwards."""
