"""The command lines: their options, reading data, printing results."""
