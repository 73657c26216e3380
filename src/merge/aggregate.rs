//! count, sum, min, max, bool and bit folded per group; overflow as Postgres raises it.
