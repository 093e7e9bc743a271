"""The control plane's hold on the outside: database, policy engines, keystore, clock."""
