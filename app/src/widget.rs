//! Building blocks that more than one screen, or more than one place of a screen, uses.

pub mod control;
pub mod mosaic;
pub mod tile;
