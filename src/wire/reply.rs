//! The few frames that we author: ErrorResponse, RowDescription, CommandComplete, ReadyForQuery.
