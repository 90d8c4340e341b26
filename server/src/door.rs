//! Who may come in: how many connections there are, of whom, and whether the system has room for
//! more. Those who are inside are never asked again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Doors;
use crate::limits::network;
use crate::metrics::{Held, Metrics, Refused, held};

pub(crate) mod memory;

/// File descriptors kept for saying no, for certificates, for folders and for other servers.
const RESERVE: u64 = 64;

/// The door of one server.
#[derive(Debug)]
pub(crate) struct Door {
    limits: Doors,
    /// A connection whose descriptor has this number or a higher one is one too many: the system
    /// gives the lowest free number, so this counts every file of the process without asking.
    first_reserved: Option<u64>,
    open: AtomicUsize,
    /// Connections of each address; those without any are not here.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    short_of_memory: AtomicBool,
    /// Answers of 503 that are on their way. When there are too many, the next newcomer gets no
    /// answer at all: the connection is closed.
    refusals: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Door {
    /// A door for a process that may have `files` open; `None` where nobody knows.
    pub(crate) fn new(limits: Doors, files: Option<u64>, metrics: Arc<Metrics>) -> Arc<Self> {
        let reserve = files.map_or(RESERVE, |files| RESERVE.min(files / 4));
        Arc::new(Self {
            limits,
            first_reserved: files.map(|files| files.saturating_sub(reserve)),
            open: AtomicUsize::new(0),
            addresses: Mutex::default(),
            short_of_memory: AtomicBool::new(false),
            // Each holds one file; the other half of the reserve is for files of our own.
            refusals: Arc::new(Semaphore::new((reserve / 2).max(1) as usize)),
            metrics,
        })
    }

    /// Lets a connection in whose file descriptor is `file`. It counts for `address`, unless that
    /// is a proxy's and nobody knows yet who is behind it.
    ///
    /// # Errors
    /// Why not; it has been counted.
    pub(crate) fn enter(
        self: &Arc<Self>,
        file: Option<u64>,
        address: Option<IpAddr>,
    ) -> Result<Pass, Refused> {
        let pass = self.admit(file, address);
        if let Err(reason) = pass {
            self.metrics.door.refused.add(reason);
        }
        pass
    }

    fn admit(
        self: &Arc<Self>,
        file: Option<u64>,
        address: Option<IpAddr>,
    ) -> Result<Pass, Refused> {
        if file.zip(self.first_reserved).is_some_and(|(file, reserved)| file >= reserved) {
            return Err(Refused::Files);
        }
        if self.short_of_memory.load(Ordering::Relaxed) {
            return Err(Refused::Memory);
        }
        let most = self.limits.connections;
        if most > 0 && self.open.load(Ordering::Relaxed) >= most {
            return Err(Refused::Full);
        }
        let address = address.map(network);
        if let Some(address) = address {
            self.count(address)?;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let tcp = held(&self.metrics.door.tcp_open);
        Ok(Pass(Arc::new(Inside { door: self.clone(), address: Mutex::new(address), _tcp: tcp })))
    }

    /// Permission to answer somebody who is turned away; `None` when too many are being answered.
    pub(crate) fn may_answer(&self) -> Option<OwnedSemaphorePermit> {
        self.refusals.clone().try_acquire_owned().ok()
    }

    /// Says whether memory is short; see [`memory::watch`].
    fn set_short_of_memory(&self, short: bool) {
        if self.short_of_memory.swap(short, Ordering::Relaxed) != short {
            if short {
                tracing::error!("memory is short: newcomers are turned away with 503");
            } else {
                tracing::info!("there is memory again: newcomers are let in");
            }
        }
    }

    fn count(&self, address: IpAddr) -> Result<(), Refused> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if self.limits.per_address > 0 && *count >= self.limits.per_address {
            return Err(Refused::Address);
        }
        *count += 1;
        Ok(())
    }

    fn uncount(&self, address: IpAddr) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = addresses.entry(address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// A connection's place. Whoever keeps the connection open keeps a clone of this.
#[derive(Debug, Clone)]
pub struct Pass(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    door: Arc<Door>,
    address: Mutex<Option<IpAddr>>,
    _tcp: Held,
}

impl Pass {
    /// Counts the connection for `address` from now on: a proxy said who is behind it.
    ///
    /// # Errors
    /// [`Refused::Address`] when that address has enough connections; it has been counted.
    pub(crate) fn name(&self, address: IpAddr) -> Result<(), Refused> {
        let address = network(address);
        let mut named = self.0.address.lock().unwrap_or_else(PoisonError::into_inner);
        if *named == Some(address) {
            return Ok(());
        }
        let counted = self.0.door.count(address);
        if let Err(reason) = counted {
            self.0.door.metrics.door.refused.add(reason);
            return Err(reason);
        }
        if let Some(before) = named.replace(address) {
            self.0.door.uncount(before);
        }
        Ok(())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Ordering::Relaxed);
        let address = self.address.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = address.take() {
            self.door.uncount(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(limits: Doors, files: u64) -> Arc<Door> {
        Door::new(limits, Some(files), Arc::default())
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn an_address_has_its_number_of_places_and_others_have_theirs() {
        let door = door(Doors { per_address: 2, ..Doors::default() }, 1_024);
        let first = door.enter(Some(10), address(1)).unwrap();
        let _second = door.enter(Some(11), address(1)).unwrap();
        assert_eq!(door.enter(Some(12), address(1)).unwrap_err(), Refused::Address);
        let _other = door.enter(Some(12), address(2)).unwrap();
        let kept = first.clone();
        drop(first);
        assert_eq!(door.enter(Some(12), address(1)).unwrap_err(), Refused::Address);
        drop(kept);
        assert!(door.enter(Some(12), address(1)).is_ok());
        assert_eq!(door.metrics.door.refused.get(Refused::Address), 2);
    }

    #[test]
    fn whoever_comes_through_a_proxy_counts_when_named() {
        let door = door(Doors { per_address: 1, ..Doors::default() }, 1_024);
        let passes: Vec<Pass> = (0..3).map(|_| door.enter(Some(9), None).unwrap()).collect();
        let name = |pass: &Pass, last| pass.name(address(last).unwrap());
        assert_eq!(name(&passes[0], 1), Ok(()));
        assert_eq!(name(&passes[0], 1), Ok(()));
        assert_eq!(name(&passes[1], 1), Err(Refused::Address));
        assert_eq!(name(&passes[1], 2), Ok(()));
        assert_eq!(name(&passes[0], 3), Ok(()));
        assert_eq!(name(&passes[2], 1), Ok(()));
        drop(passes);
        assert!(door.addresses.lock().unwrap().is_empty());
        assert_eq!((door.open.load(Ordering::Relaxed), door.metrics.door.tcp_open.get()), (0, 0));
    }

    #[test]
    fn newcomers_are_refused_before_files_memory_or_places_are_gone() {
        let limits = Doors { connections: 2, ..Doors::default() };
        let door = door(limits, 1_024);
        assert_eq!(door.enter(Some(960), None).unwrap_err(), Refused::Files);
        let inside = door.enter(Some(959), None).unwrap();
        let _second = door.enter(Some(959), None).unwrap();
        assert_eq!(door.enter(Some(959), None).unwrap_err(), Refused::Full);
        drop(inside);
        door.set_short_of_memory(true);
        assert_eq!(door.enter(Some(959), None).unwrap_err(), Refused::Memory);
        door.set_short_of_memory(false);
        assert!(door.enter(Some(959), None).is_ok());
    }

    #[test]
    fn only_so_many_are_told_why_at_once() {
        let door = door(Doors::default(), 64);
        let told: Vec<_> = std::iter::from_fn(|| door.may_answer()).collect();
        assert_eq!(told.len(), 8);
        drop(told);
        assert!(door.may_answer().is_some());
    }
}
