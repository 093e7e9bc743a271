"""Pure domain rules of the control plane: no I/O, no framework, no clock."""
