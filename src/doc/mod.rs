//! Pages about the whole, beside the reference: how it is built.

pub mod architecture {
    #![doc = include_str!("architecture.md")]
}

pub mod changelog {
    #![doc = include_str!("../../CHANGELOG.md")]
}
