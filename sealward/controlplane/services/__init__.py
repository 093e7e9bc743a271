"""Use cases of the control plane, one file each; a transaction begins and ends here."""
