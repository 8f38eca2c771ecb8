"""What `actr top` and `actr tree` show of the daemon as a whole; no other command imports it."""
