//! `Plan` as the tree that EXPLAIN (ROUTE) prints and tests compare.
