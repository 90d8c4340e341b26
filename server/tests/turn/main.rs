//! The relay and programs that others wrote.

// The attribute tells clippy that helpers, too, are tests.
#[cfg(test)]
mod coturn;
