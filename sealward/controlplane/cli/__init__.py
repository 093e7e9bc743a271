"""The sealward command line: remote, local and process commands."""
