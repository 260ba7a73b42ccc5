//! How long Kamaji's Job may take.
use crate::adapters::datastore::StoreLook;

/// Less would not do on a busy cluster: an image is pulled, and API servers are asked.
const LEAST_MINUTES: u64 = 10;
/// It writes key by key: a write to a store that syncs to a slow disk.
const EACH_KEY_MILLISECONDS: u64 = 10;
/// What it reads and sends in a second, at the least.
const BYTES_PER_SECOND: u64 = 1 << 20;
/// Times the estimate: a Job that gives up has copied for nothing, and the tenant was frozen meanwhile.
const MARGIN: u64 = 3;

/// The minutes that are enough for what the source holds.
pub(super) fn minutes(source: &StoreLook) -> u64 {
    let keys = source.keys.saturating_mul(EACH_KEY_MILLISECONDS) / 1000;
    let seconds = keys.saturating_add(source.bytes / BYTES_PER_SECOND);
    let minutes = seconds.saturating_mul(MARGIN).div_ceil(60);
    minutes.max(LEAST_MINUTES)
}

/// As Go writes a duration.
pub(super) fn text(minutes: u64) -> String {
    format!("{minutes}m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_keys_and_bytes_and_is_never_kamaji_s_five_minutes() {
        let of = |keys, bytes| {
            minutes(&StoreLook {
                version: String::new(),
                revision: 0,
                keys,
                bytes,
            })
        };
        assert_eq!(text(of(700, 1 << 20)), "10m");
        assert_eq!(of(1_000_000, 0), 500);
        assert_eq!(of(0, 6000 << 20), 300);
        assert!(of(u64::MAX, u64::MAX) > 1_000_000);
    }
}
