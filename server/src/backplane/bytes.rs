//! Numbers, texts and lists as bytes. Big-endian; lengths stand in front, in 32 bits.

/// The bytes end too early, or a length is beyond its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short;

/// Appends.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

macro_rules! write_number {
    ($($name:ident),+) => {
        $(
            /// Appends a number.
            pub fn $name(&mut self, number: $name) -> &mut Self {
                self.0.extend_from_slice(&number.to_be_bytes());
                self
            }
        )+
    };
}

impl Writer {
    write_number!(u8, u16, u32, u64, u128);

    /// Appends bytes with their length.
    pub fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        // What is longer than 4 GiB is refused by every reader's bound anyway.
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a text with its length.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.blob(text.as_bytes())
    }

    /// Appends a list with its length.
    pub fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
        for item in items {
            each(self, item);
        }
    }

    /// Appends something that may be missing.
    pub fn option<T>(&mut self, item: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.u8(item.is_some().into());
        if let Some(item) = item {
            write(self, item);
        }
    }

    /// All of it.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what a [`Writer`] wrote, or refuses.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

macro_rules! read_number {
    ($($name:ident),+) => {
        $(
            /// Reads a number.
            ///
            /// # Errors
            /// [`Short`] when too few bytes are left.
            pub fn $name(&mut self) -> Result<$name, Short> {
                let (number, rest) = self.0.split_first_chunk().ok_or(Short)?;
                self.0 = rest;
                Ok($name::from_be_bytes(*number))
            }
        )+
    };
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    read_number!(u8, u16, u32, u64, u128);

    /// Reads a truth value, 0 or 1.
    ///
    /// # Errors
    /// [`Short`] for anything else.
    pub fn bool(&mut self) -> Result<bool, Short> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Short),
        }
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// [`Short`] when there are more than `bound`, or fewer than announced.
    pub fn blob(&mut self, bound: usize) -> Result<&'a [u8], Short> {
        let length = self.length(bound)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`Short`] when it has more than `bound` bytes, is cut off, or is no UTF-8.
    pub fn text(&mut self, bound: usize) -> Result<&'a str, Short> {
        std::str::from_utf8(self.blob(bound)?).map_err(|_| Short)
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`Short`] when it has more than `bound` items, and whatever an item has.
    pub fn list<T, E: From<Short>>(
        &mut self,
        bound: usize,
        mut each: impl FnMut(&mut Self) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        // Every item has a byte at least, so that a length can't make us reserve for nothing.
        let length = self.length(bound.min(self.0.len()))?;
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(each(self)?);
        }
        Ok(items)
    }

    /// Reads something that may be missing.
    ///
    /// # Errors
    /// [`Short`] when even that can't be read, and whatever the thing has.
    pub fn option<T, E: From<Short>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn length(&mut self, bound: usize) -> Result<usize, Short> {
        let length = self.u32()? as usize;
        if length > bound { Err(Short) } else { Ok(length) }
    }
}
