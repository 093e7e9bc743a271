"""Hardware reports of Azure's paravisor (HCL). Start with README.md beside this file."""
