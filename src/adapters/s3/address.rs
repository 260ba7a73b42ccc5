use std::{fmt, str::FromStr};

/// What an address of a bucket begins with.
pub const SCHEME: &str = "s3://";

/// Longest key that we make or read; S3 has 1024 bytes, and names of ours come behind it.
const LONGEST: usize = 900;

/// A place in a bucket, `s3://bucket/key`. The key has no slash at its ends, and no part that is empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The bucket.
    pub bucket: String,
    /// The key, or the prefix of keys; empty for the bucket itself.
    pub key: String,
}

impl Address {
    /// The address of what has this name below it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let key = match self.key.as_str() {
            "" => name.to_owned(),
            key => format!("{key}/{name}"),
        };
        Self {
            bucket: self.bucket.clone(),
            key,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}", self.bucket)?;
        if self.key.is_empty() {
            return Ok(());
        }
        write!(formatter, "/{}", self.key)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| "an address of a bucket begins with s3://".to_owned())?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket) {
            return Err(format!(
                "`{bucket}` is no name of a bucket: 3 to 63 lower-case letters, digits, dots and dashes"
            ));
        }
        let key = key.trim_end_matches('/');
        if key.len() > LONGEST {
            return Err(format!("the key has more than {LONGEST} bytes"));
        }
        if !key.is_empty() {
            key.split('/').try_for_each(check_name)?;
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }
}

/// Refuses what cannot be one part of a key: some servers keep objects as files, and would leave the bucket.
fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("two slashes follow each other".to_owned()),
        "." | ".." => Err(format!("`{name}` is no name in a bucket")),
        name if name
            .chars()
            .any(|letter| letter.is_control() || letter == '\\') =>
        {
            Err(format!(
                "`{}` has a character that no name in a bucket should have",
                name.escape_default()
            ))
        }
        _ => Ok(()),
    }
}

fn is_bucket(name: &str) -> bool {
    let ends = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    (3..=63).contains(&name.len())
        && ends(name.chars().next())
        && ends(name.chars().last())
        && !name.contains("..")
        && name.chars().all(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '.' | '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_a_key() {
        for (text, bucket, key) in [
            ("s3://backups", "backups", ""),
            ("s3://backups/", "backups", ""),
            ("s3://my.backups-1/a/b c/", "my.backups-1", "a/b c"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(
                (address.bucket.as_str(), address.key.as_str()),
                (bucket, key)
            );
        }
        let address: Address = "s3://backups/a".parse().expect("an address");
        assert_eq!(address.join("b").to_string(), "s3://backups/a/b");
        let bucket: Address = "s3://backups".parse().expect("an address");
        assert_eq!(bucket.to_string(), "s3://backups");
        assert_eq!(bucket.join("b").to_string(), "s3://backups/b");
    }

    #[test]
    fn what_would_leave_its_place_is_refused() {
        for text in [
            "backups/a",
            "s3:/backups",
            "s3://",
            "s3://ab",
            "s3://Backups",
            "s3://-ab",
            "s3://a..b",
            "s3://../a",
            "s3://backups/../other",
            "s3://backups/a/./b",
            "s3://backups//a",
            "s3://backups/a//b",
            "s3://backups/a\nb",
            "s3://backups/a\\b",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        let long = format!("s3://backups/{}", "a".repeat(LONGEST + 1));
        assert!(long.parse::<Address>().is_err());
    }
}
