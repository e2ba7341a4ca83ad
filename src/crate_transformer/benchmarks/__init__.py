"""Speed and memory, measured side by side. Nothing else in the package imports it but the command line."""
