//! Where the statements of a simple query begin and end.
