"""A torch module's parameters in the names and layouts of other frameworks, and back."""
