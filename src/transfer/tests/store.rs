//! A folder as the place where archives are kept: parts are files until they are put together.
use crate::transfer::archive::{
    Access, Md5, ObjectStore, Renewal, Secret, StoreError, StoreFailure, Upload, etag,
};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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

pub fn open(access: &Access, renewal: &Arc<Renewal>) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let Some(folder) = &access.endpoint else {
        return Err(StoreError {
            why: "no folder is named".to_owned(),
            failure: StoreFailure::Refused,
            next: None,
        });
    };
    let asks = Asks {
        folder: folder.into(),
        id: Mutex::new(access.id.clone()),
        renewal: Arc::clone(renewal),
    };
    Ok(Arc::new(Keyed(Arc::new(asks))))
}

pub struct Folder(pub PathBuf);

fn error(error: &std::io::Error) -> StoreError {
    StoreError {
        why: error.to_string(),
        failure: StoreFailure::Damaged,
        next: None,
    }
}

/// How many more calls a folder takes, in a file of it, so that it holds for whoever opens it.
const LEFT: &str = ".left";
static CALLS: Mutex<()> = Mutex::new(());

/// Lets so many calls through, and none after them; none lets all through.
pub fn let_through(folder: &Path, calls: Option<usize>) {
    let left = folder.join(LEFT);
    match calls {
        Some(calls) => std::fs::write(left, calls.to_string()).unwrap(),
        None => std::fs::remove_file(left).unwrap(),
    }
}

/// Whether calls are not let through any more.
pub fn is_cut(folder: &Path) -> bool {
    std::fs::read(folder.join(LEFT)).is_ok_and(|left| left == b"0")
}

fn call(folder: &Path) -> Result<(), StoreError> {
    let _one = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(left) = std::fs::read_to_string(folder.join(LEFT)) else {
        return Ok(());
    };
    match left.parse::<usize>().unwrap() {
        0 => Err(StoreError {
            why: "no answer".to_owned(),
            failure: StoreFailure::Passing,
            next: None,
        }),
        left => {
            std::fs::write(folder.join(LEFT), (left - 1).to_string()).unwrap();
            Ok(())
        }
    }
}

/// For how many calls each key is taken, in a file of the folder, and how many each was taken for.
const LAST: &str = ".last";

/// Lets each key, by its id, be taken for so many calls.
pub fn let_last(folder: &Path, calls: usize) {
    std::fs::write(folder.join(LAST), calls.to_string()).unwrap();
}

/// How many calls each key was taken for.
pub fn taken(folder: &Path) -> Vec<usize> {
    let spent = std::fs::read_dir(folder).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_prefix(LAST)?.strip_prefix('-')?;
        let count = std::fs::read_to_string(folder.join(&name)).unwrap();
        Some(count.parse().unwrap())
    });
    spent.collect()
}

/// A folder that takes each key for a while, and a client who may have another one.
struct Keyed(Arc<Asks>);

struct Asks {
    folder: PathBuf,
    /// The key that is used now.
    id: Mutex<String>,
    renewal: Arc<Renewal>,
}

impl Asks {
    fn used(&self) -> String {
        let id = self.id.lock().unwrap_or_else(PoisonError::into_inner);
        id.clone()
    }

    /// Whether this key is taken once more.
    fn takes(&self, id: &str) -> bool {
        let _one = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(last) = std::fs::read_to_string(self.folder.join(LAST)) else {
            return true;
        };
        let file = self.folder.join(format!("{LAST}-{id}"));
        let spent = std::fs::read_to_string(&file).map_or(0, |count| count.parse().unwrap());
        let takes = spent < last.parse::<usize>().unwrap();
        if takes {
            std::fs::write(&file, (spent + 1).to_string()).unwrap();
        }
        takes
    }

    /// As a bucket does: a key that is not taken is replaced, if there is another one.
    fn call(&self) -> Result<(), StoreError> {
        loop {
            let used = self.used();
            if self.takes(&used) {
                return Ok(());
            }
            if self.used() != used {
                continue;
            }
            let now = self.renewal.ask().map_or(used.clone(), |access| access.id);
            if now == used {
                return Err(StoreError {
                    why: format!("the key {used} has expired"),
                    failure: StoreFailure::Credentials,
                    next: None,
                });
            }
            *self.id.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }
}

impl ObjectStore for Keyed {
    fn begin(&self, key: &str, mark: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.0.call()?;
        let begun = Folder(self.0.folder.clone()).begin(key, mark)?;
        Ok(Box::new(KeyedUpload(begun, Arc::clone(&self.0))))
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.0.call()?;
        Folder(self.0.folder.clone()).read(key, range)
    }
}

struct KeyedUpload(Box<dyn Upload>, Arc<Asks>);

impl Upload for KeyedUpload {
    fn has(&self, number: u32, size: u64, md5: Md5) -> bool {
        self.0.has(number, size, md5)
    }

    fn put(&self, number: u32, bytes: Vec<u8>, md5: Md5) -> Result<(), StoreError> {
        self.1.call()?;
        self.0.put(number, bytes, md5)
    }

    fn finish(&self, parts: &[Md5]) -> Result<(), StoreError> {
        self.1.call()?;
        self.0.finish(parts)
    }
}

impl ObjectStore for Folder {
    fn begin(&self, key: &str, mark: &str) -> Result<Box<dyn Upload>, StoreError> {
        call(&self.0)?;
        let object = self.0.join(key);
        let whole = self.0.join(format!("{key}.{mark}.whole"));
        if object.exists() && whole.exists() {
            return Ok(Box::new(Whole { object, whole }));
        }
        if object.exists() {
            return Err(StoreError {
                why: format!("{key} is there already"),
                failure: StoreFailure::Refused,
                next: None,
            });
        }
        let parts = self.0.join(format!("{key}.{mark}"));
        std::fs::create_dir_all(&parts).map_err(|failed| error(&failed))?;
        Ok(Box::new(Parts {
            folder: self.0.clone(),
            object,
            begun: parts,
            whole,
        }))
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        call(&self.0)?;
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        let file = std::fs::File::open(self.0.join(key)).map_err(|failed| error(&failed))?;
        file.read_exact_at(&mut bytes, range.start)
            .map_err(|failed| error(&failed))?;
        Ok(bytes)
    }
}

struct Parts {
    folder: PathBuf,
    object: PathBuf,
    begun: PathBuf,
    /// What the object is called by when it is whole, as S3 would: where it is kept.
    whole: PathBuf,
}

/// An object that an earlier try has made whole.
struct Whole {
    object: PathBuf,
    whole: PathBuf,
}

impl Upload for Whole {
    fn has(&self, _: u32, _: u64, _: Md5) -> bool {
        true
    }

    fn put(&self, _: u32, _: Vec<u8>, _: Md5) -> Result<(), StoreError> {
        Ok(())
    }

    fn finish(&self, parts: &[Md5]) -> Result<(), StoreError> {
        let made = std::fs::read_to_string(&self.whole).map_err(|failed| error(&failed))?;
        if made == etag(parts.iter().copied()) {
            return Ok(());
        }
        std::fs::remove_file(&self.object).map_err(|failed| error(&failed))?;
        Err(StoreError {
            why: "it was another one, and is removed".to_owned(),
            failure: StoreFailure::Passing,
            next: None,
        })
    }
}

impl Upload for Parts {
    fn has(&self, number: u32, size: u64, md5: Md5) -> bool {
        std::fs::read(self.begun.join(number.to_string()))
            .is_ok_and(|bytes| bytes.len() as u64 == size && Md5::of(&bytes) == md5)
    }

    fn put(&self, number: u32, bytes: Vec<u8>, md5: Md5) -> Result<(), StoreError> {
        call(&self.folder)?;
        assert_eq!(Md5::of(&bytes), md5);
        std::fs::write(self.begun.join(number.to_string()), bytes).map_err(|failed| error(&failed))
    }

    fn finish(&self, parts: &[Md5]) -> Result<(), StoreError> {
        call(&self.folder)?;
        let mut whole = Vec::new();
        for number in 1..=parts.len() {
            let part = std::fs::read(self.begun.join(number.to_string()));
            whole.extend(part.map_err(|failed| error(&failed))?);
        }
        std::fs::write(&self.whole, etag(parts.iter().copied()))
            .map_err(|failed| error(&failed))?;
        std::fs::write(&self.object, whole).map_err(|failed| error(&failed))?;
        std::fs::remove_dir_all(&self.begun).map_err(|failed| error(&failed))?;
        // It is made, and the answer may be lost.
        call(&self.folder)
    }
}
