//! A tenant's messages as kine writes them, many at once and without kine.
use crc::{CRC_32_ISCSI, Crc};

/// What kine's library makes of bytes that cannot be compressed.
pub fn frame(plain: &[u8]) -> Vec<u8> {
    let mut frame = b"\xff\x06\0\0S2sTwO".to_vec();
    for chunk in plain.chunks(1 << 20) {
        let sum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(chunk);
        let sum = sum.rotate_right(15).wrapping_add(0xa282_ead8);
        let length = u32::try_from(chunk.len() + 4).unwrap_or_default();
        frame.push(1);
        frame.extend(&length.to_le_bytes()[..3]);
        frame.extend(sum.to_le_bytes());
        frame.extend(chunk);
    }
    frame
}

/// A key's subject, without the bucket's.
pub fn subject(key: &str) -> String {
    let parts = key.trim_start_matches('/').split('/');
    let parts: Vec<_> = parts.map(|part| bs58::encode(part).into_string()).collect();
    parts.join(".")
}

/// A change of a key.
pub fn put(key: &str, value: &str) -> (String, Option<&'static str>, Vec<u8>) {
    let plain = format!(
        "{{\"KV\":{{\"Key\":\"{key}\",\"CreateRevision\":0,\"ModRevision\":0,\"Value\":\"{value}\",\"Lease\":0}},\
        \"PrevRevision\":0,\"Create\":true,\"Delete\":false}}"
    );
    (subject(key), None, frame(plain.as_bytes()))
}

/// The end of a key.
pub fn delete(key: &str) -> (String, Option<&'static str>, Vec<u8>) {
    (subject(key), Some("DEL"), Vec::new())
}

/// So many changes of so many keys, with values of so many bytes, each its own.
pub fn changes(
    count: usize,
    keys: usize,
    bytes: usize,
) -> impl Iterator<Item = (String, Option<&'static str>, Vec<u8>)> {
    (0..count).map(move |number| {
        let key = format!("/registry/configmaps/shop/item-{:07}", number % keys);
        // They do not compress, as those of kine do not once they are in base64.
        let mut random = fastrand::Rng::with_seed(number as u64);
        let value: String = (0..bytes).map(|_| random.alphanumeric()).collect();
        put(&key, &value)
    })
}
