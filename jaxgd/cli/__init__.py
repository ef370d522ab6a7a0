"""The command `jaxgd`: one file a subcommand. Here files, clocks and the terminal are."""
