//! More than one server: what happens in a room on this one reaches the members on others.

pub mod bytes;
pub mod cluster;
pub mod packet;
pub mod seal;
pub mod stream;

mod room;
#[cfg(test)]
mod simulation;

/// Another server of the cluster; drawn at random at every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// Why a user left a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Asked to.
    Asked,
    /// The connection ended.
    Lost,
    /// Read too slowly.
    Slow,
    /// Is on another server now.
    Moved,
}
