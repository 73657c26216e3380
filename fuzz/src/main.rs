//! All fuzz targets in one program: libFuzzer feeds the one that PGLOOM_FUZZ_TARGET names.
#![no_main]
#![allow(clippy::unwrap_used)]

use std::sync::OnceLock;

#[path = "../targets/mod.rs"]
mod targets;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("PGLOOM_FUZZ_TARGET").unwrap_or_default();
        let target = targets::ALL.iter().find(|target| target.name == name);
        let target = target.unwrap_or_else(|| panic!("PGLOOM_FUZZ_TARGET names no target: {name:?}"));
        let _ = TARGET.set(target.run);
    },
    |data: &[u8]| {
        if let Some(run) = TARGET.get() {
            run(data);
        }
    }
);
