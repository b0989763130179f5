"""One file per outside system, named after it; each returns model values or plain rows, and never writes."""
