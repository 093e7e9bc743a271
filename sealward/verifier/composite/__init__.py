"""Evidence made of more than one format: what each proves about the other."""
