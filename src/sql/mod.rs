//! PURE. Text -> statement -> analysis. The only door to sqlparser.

pub mod analyze;
pub mod keys;
pub(crate) mod lexer;
pub mod rewrite;
pub mod shape;
pub mod split;
pub mod template;
pub mod utility;

use crate::catalog::Catalog;
use crate::topology::Topology;

pub use analyze::Analysis;

/// Whether a statement can change data. Anything not known to only read counts as a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// What the names and literals in a statement mean for one session at one moment. Part of the cache key by `fingerprint`.
#[derive(Clone, Copy)]
pub struct NameScope<'a> {
    pub catalog: &'a Catalog,
    pub topology: &'a Topology,
    /// Schemas in search order; `$user` already replaced, pg_catalog implied.
    pub search_path: &'a [Box<str>],
    /// `standard_conforming_strings`; when off, a statement with a backslash in a plain string is not understood.
    pub standard_strings: bool,
    /// Hash of search_path and standard_strings, computed once when they change.
    pub fingerprint: u64,
}
