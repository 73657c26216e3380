//! `Plan` as the tree that EXPLAIN (ROUTE) prints and tests compare.
use crate::plan::*;
pub fn text(_p: &Plan, _a: &crate::sql::Analysis, _v: &View<'_>) -> Vec<String> {
    vec![]
}
pub fn json(_p: &Plan, _a: &crate::sql::Analysis, _v: &View<'_>) -> String {
    String::new()
}
