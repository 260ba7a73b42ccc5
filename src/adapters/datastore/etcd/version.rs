//! What an etcd can do, by its version.

/// A version, comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    numbers: [u32; 3],
    shown: String,
}

impl Version {
    /// From what the server says; what cannot be read is as old as can be.
    pub(super) fn read(text: &str) -> Self {
        let plain = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = [0; 3];
        for (number, part) in numbers.iter_mut().zip(plain.split('.')) {
            *number = part.parse().unwrap_or_default();
        }
        Self {
            numbers,
            shown: text.to_owned(),
        }
    }

    /// As the server says it.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Kamaji asks each store for `AuthStatus`, which came with 3.5.
    pub(super) fn suits_kamaji(&self) -> bool {
        self.numbers >= [3, 5, 0]
    }

    /// Before 3.5.13 a watch's progress may be told before its events, or never.
    pub(super) fn tells_progress(&self) -> bool {
        self.numbers >= [3, 5, 13]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(!Version::read("3.4.37").suits_kamaji());
        assert!(Version::read("3.5.9").suits_kamaji());
        assert!(!Version::read("3.5.9").tells_progress());
        assert!(Version::read("3.5.13").tells_progress());
        assert!(Version::read("3.6.0-rc.1").tells_progress());
        assert!(Version::read("3.10.0").tells_progress());
        assert!(!Version::read("unknown").suits_kamaji());
    }
}
