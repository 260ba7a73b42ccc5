//! A record as a line.
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{End, Lease, Record};

/// A line behind the head.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Record(Text),
    End { end: End },
}

/// A record, in text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    #[serde(default, skip_serializing_if = "is_zero")]
    number: u64,
    /// The key, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The key in base64, where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    /// In base64.
    fields: Vec<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<Lease>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<&Record> for Text {
    fn from(record: &Record) -> Self {
        let key = std::str::from_utf8(&record.key).ok();
        let fields = record.fields.iter();
        Self {
            number: record.number,
            key: key.map(str::to_owned),
            bytes: key.is_none().then(|| STANDARD.encode(&record.key)),
            fields: fields
                .map(|field| field.as_ref().map(|field| STANDARD.encode(field)))
                .collect(),
            lease: record.lease,
        }
    }
}

impl TryFrom<Text> for Record {
    type Error = base64::DecodeError;

    fn try_from(text: Text) -> Result<Self, Self::Error> {
        let key = match (text.key, text.bytes) {
            (Some(key), _) => key.into_bytes(),
            (None, Some(bytes)) => STANDARD.decode(bytes)?,
            (None, None) => Vec::new(),
        };
        let field = |field: Option<String>| -> Result<Option<Bytes>, Self::Error> {
            field
                .map(|field| STANDARD.decode(field).map(Bytes::from))
                .transpose()
        };
        Ok(Self {
            number: text.number,
            key,
            fields: text
                .fields
                .into_iter()
                .map(field)
                .collect::<Result<_, _>>()?,
            lease: text.lease,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(record: &Record) -> (String, Record) {
        let line = serde_json::to_string(&Line::Record(record.into())).expect("a line");
        let Ok(Line::Record(text)) = serde_json::from_str(&line) else {
            panic!("no record: {line}");
        };
        (line, Record::try_from(text).expect("a record"))
    }

    #[test]
    fn a_record_is_a_line_that_people_can_read() {
        let record = Record {
            number: 0,
            key: b"pods/a".to_vec(),
            fields: vec![Some(Bytes::from_static(b"k8s\0")), None],
            lease: Some(Lease { id: 9, seconds: 30 }),
        };
        let (line, back) = there_and_back(&record);
        assert_eq!(
            line,
            r#"{"key":"pods/a","fields":["azhzAA==",null],"lease":{"id":9,"seconds":30}}"#
        );
        assert_eq!(back, record);
        let record = Record {
            number: 17,
            key: vec![0xff, 0xfe],
            fields: vec![Some(Bytes::new())],
            lease: None,
        };
        let (line, back) = there_and_back(&record);
        assert_eq!(line, r#"{"number":17,"bytes":"//4=","fields":[""]}"#);
        assert_eq!(back, record);
    }
}
