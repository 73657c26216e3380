//! Every distribution compiled to one sorted lookup.

/// The compiled form of a distribution's method.
#[derive(Clone, Debug, Default)]
pub struct ShardMap {}
