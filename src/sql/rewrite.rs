//! The tree changed and printed for the shards, behind the fidelity guard (DESIGN section 4).
