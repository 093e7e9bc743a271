"""Keys at rest behind the keystore port."""
