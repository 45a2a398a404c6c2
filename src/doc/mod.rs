//! Pages about the whole, beside the reference: how it is built, how to come to it.

pub mod architecture {
    #![doc = include_str!("architecture.md")]
}

pub mod migrating {
    #![doc = include_str!("migrating.md")]
}

pub mod changelog {
    #![doc = include_str!("../../CHANGELOG.md")]
}

pub mod security {
    #![doc = include_str!("security.md")]
}

pub mod simulation {
    #![doc = include_str!("simulation.md")]
}

pub mod performance {
    #![doc = include_str!("performance.md")]
}
