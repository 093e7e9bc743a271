"""TPM 2.0 quotes, the keys behind them, credentials and policy digests."""
