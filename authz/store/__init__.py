"""What we remember: records in Redis or Valkey, and a bounded copy of them in each process."""
