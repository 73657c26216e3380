//! Template -> `Arc<Analysis>`; bounded in bytes; an entry of an older catalog or topology is a miss.
