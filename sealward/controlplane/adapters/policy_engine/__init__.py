"""Policy engines behind the port of `domain.policy_engine`; every one runs outside this process."""
