//! distinct, filter, sort, limit and offset, hidden columns dropped.
