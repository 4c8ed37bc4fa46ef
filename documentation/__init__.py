"""What turns the project's pages into its site: the build by Sphinx, the tables, the check."""
