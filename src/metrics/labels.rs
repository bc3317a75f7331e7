//! Labels whose values are known.

use super::kinds::Label;

macro_rules! labels {
    ($($(#[$about:meta])* $label:ident { $($(#[$what:meta])* $value:ident $text:literal,)* })*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $label { $($(#[$what])* $value,)* }

        impl Label for $label {
            const ALL: &'static [Self] = &[$(Self::$value,)*];

            fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)* }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}

labels! {
    /// Why a choice of a completion ended.
    Ended {
        Length "length",
        Stop "stop",
        Error "error",
        /// Its client left.
        Canceled "canceled",
    }

    /// A part of a look-up.
    Stage {
        Embed "embed",
        Search "search",
        Encode "encode",
    }

    /// What was computed or read before and is kept in memory.
    Cache {
        /// Vectors of queries.
        Vectors "vectors",
        /// What cross-attention reads of neighbours.
        Encoded "encoded",
        /// Embeddings of whole collections.
        Embeddings "embeddings",
    }

    /// What texts are embedded for.
    Purpose {
        Documents "documents",
        Queries "queries",
    }

    /// What became of a document.
    Taken {
        Ready "ready",
        Failed "failed",
    }

    /// What keeps a collection fast and small.
    Chore {
        /// Small fragments are put together.
        Compact "compact",
        /// Old versions are removed.
        Prune "prune",
        IndexBuild "index_build",
        IndexExtend "index_extend",
        IndexMerge "index_merge",
    }
}
