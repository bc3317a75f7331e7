//! The target that the environment variable `RETRO_FUZZ_TARGET` names.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use retro_server::fuzzing::{Target, find};

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("RETRO_FUZZ_TARGET").expect("RETRO_FUZZ_TARGET names a target");
        TARGET.get_or_init(|| find(&name));
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(bytes);
        }
    }
);
