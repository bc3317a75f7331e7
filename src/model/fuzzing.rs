//! `retro.json` from bytes.

use super::Manifest;
use crate::onnx::Device;

pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    assert!(manifest.context > 0 && manifest.vocabulary > 0 && manifest.retrieved_length() > 0);
    let layers = [manifest.self_attention.lower_layers, manifest.self_attention.upper_layers];
    assert!(layers.into_iter().all(|some| some <= manifest.layers) && manifest.retrieved_length() >= manifest.neighbour_length);
    for device in [Device::Cpu, Device::Cuda(0)] {
        for precision in ["auto", "int8", ""] {
            match manifest.choose(precision, device) {
                Ok(name) => assert!(manifest.variants.contains_key(name)),
                Err(reason) => assert!(!reason.is_empty()),
            }
        }
    }
}
