//! Virtual nodes -> token ranges; two rings -> the moves between them.
