"""What a config needs of devices that need not be there: memory, operations, bytes, batch."""
