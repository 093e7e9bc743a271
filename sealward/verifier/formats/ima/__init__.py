"""The Linux kernel's runtime measurement list (IMA), extended into PCR 10."""
