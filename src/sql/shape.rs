//! `Shape`: order, groups, aggregates, DISTINCT, LIMIT of the result.
