"""The command line: one file a command; each parses, calls one function of the API and prints what came out."""
