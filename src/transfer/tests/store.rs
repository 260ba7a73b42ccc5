//! A folder as the place where archives are kept: parts are files until they are put together.
use crate::transfer::archive::{
    Access, Md5, ObjectStore, Secret, StoreError, StoreFailure, Upload,
};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a client names a folder.
pub fn access(folder: &Path) -> Access {
    Access {
        endpoint: Some(folder.display().to_string()),
        region: String::new(),
        authority: None,
        bucket: String::new(),
        id: String::new(),
        key: Secret::new("never shown"),
        token: None,
        from: "a test".into(),
    }
}

pub fn open(access: &Access) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let Some(folder) = &access.endpoint else {
        return Err(StoreError {
            why: "no folder is named".to_owned(),
            failure: StoreFailure::Refused,
            next: None,
        });
    };
    Ok(Arc::new(Folder(folder.into())))
}

pub struct Folder(pub PathBuf);

fn error(error: &std::io::Error) -> StoreError {
    StoreError {
        why: error.to_string(),
        failure: StoreFailure::Damaged,
        next: None,
    }
}

impl ObjectStore for Folder {
    fn begin(&self, key: &str, mark: &str) -> Result<Box<dyn Upload>, StoreError> {
        let object = self.0.join(key);
        if object.exists() {
            return Err(StoreError {
                why: format!("{key} is there already"),
                failure: StoreFailure::Refused,
                next: None,
            });
        }
        let parts = self.0.join(format!("{key}.{mark}"));
        std::fs::create_dir_all(&parts).map_err(|failed| error(&failed))?;
        Ok(Box::new(Parts { object, parts }))
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        let file = std::fs::File::open(self.0.join(key)).map_err(|failed| error(&failed))?;
        file.read_exact_at(&mut bytes, range.start)
            .map_err(|failed| error(&failed))?;
        Ok(bytes)
    }
}

struct Parts {
    object: PathBuf,
    parts: PathBuf,
}

impl Upload for Parts {
    fn has(&self, number: u32, size: u64, md5: Md5) -> bool {
        std::fs::read(self.parts.join(number.to_string()))
            .is_ok_and(|bytes| bytes.len() as u64 == size && Md5::of(&bytes) == md5)
    }

    fn put(&self, number: u32, bytes: Vec<u8>, md5: Md5) -> Result<(), StoreError> {
        assert_eq!(Md5::of(&bytes), md5);
        std::fs::write(self.parts.join(number.to_string()), bytes).map_err(|failed| error(&failed))
    }

    fn finish(&self, parts: &[Md5]) -> Result<(), StoreError> {
        let mut whole = Vec::new();
        for number in 1..=parts.len() {
            let part = std::fs::read(self.parts.join(number.to_string()));
            whole.extend(part.map_err(|failed| error(&failed))?);
        }
        std::fs::write(&self.object, whole).map_err(|failed| error(&failed))?;
        std::fs::remove_dir_all(&self.parts).map_err(|failed| error(&failed))
    }
}
