//! Postgres's own order and equality over text and binary values in place, for the types where we can prove it.
