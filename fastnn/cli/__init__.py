"""What the command lines share: options, reading data, printing results."""
