"""Event logs of measured boot (TCG PC Client, CCEL): what was extended into which register."""
