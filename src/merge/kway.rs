//! Sorted streams to one sorted stream, one row held per shard.
