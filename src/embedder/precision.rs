use std::fmt;

use crate::onnx::{Device, Products};

/// What an embedder computes its products in. Vectors of both differ in the fourth digit: a collection is searched with vectors of the one
/// that made its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    Fp32,
    /// Integers of 13 bits in 16: about twice as fast, on processors that have the instructions.
    Int16,
}

/// What an identity ends with.
const INT16: &str = "-int16";

impl Precision {
    /// Whether an embedder can run so here.
    pub fn is_supported(self, device: Device) -> bool {
        self == Self::Fp32 || device == Device::Cpu && self.products().are_supported()
    }

    /// The best that can run here and reads a database whose vectors an embedder of this identity made.
    pub fn for_database(identity: Option<&str>, device: Device) -> Self {
        let made_in_fp32 = identity.is_some_and(|identity| !identity.ends_with(INT16));
        if Self::Int16.is_supported(device) && !made_in_fp32 { Self::Int16 } else { Self::Fp32 }
    }

    pub(super) fn products(self) -> Products {
        match self {
            Self::Fp32 => Products::Float32,
            Self::Int16 => Products::Integers,
        }
    }

    pub(super) fn identity(self, weights_sha256: &str) -> String {
        match self {
            Self::Fp32 => weights_sha256.to_owned(),
            Self::Int16 => format!("{weights_sha256}{INT16}"),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Int16 => "int16",
        })
    }
}
