"""Software attesters, one for each kind of evidence that the kit mints."""
