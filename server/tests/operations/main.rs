//! The server as its administrator meets it: real processes with little, certificates that
//! change, an authority that gives them, counters, logs, and the end.

#[cfg(test)]
mod acme;
#[cfg(test)]
mod authority;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod program;
#[cfg(test)]
mod watching;
