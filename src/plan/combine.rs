//! Tier 1: how the streamed replies of several shards become one. The vocabulary is that of the analysis, which proves the merge.

pub use crate::sql::combine::*;
