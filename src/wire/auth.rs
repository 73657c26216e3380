//! SCRAM-SHA-256 (and -PLUS) and md5 as state machines, client side and server side.
