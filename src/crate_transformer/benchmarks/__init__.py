"""Speed and memory, measured side by side. Only the command line imports this subpackage."""
