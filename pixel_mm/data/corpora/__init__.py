"""One small reader per corpus; each reads the layout that the publisher ships, in place."""
