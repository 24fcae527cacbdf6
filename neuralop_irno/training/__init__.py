"""Our own trainer."""
