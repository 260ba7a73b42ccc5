use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::elf::{Elf, NotElf};

/// Of a file's beginning, so much holds all headers that tell what it is.
const HEAD: usize = 64 << 10;

/// The executable that is put into movers' pods: the one that was named, else this program's own.
#[derive(Clone, Debug, Default)]
pub struct Executable {
    named: Option<PathBuf>,
    opened: Arc<OnceCell<Opened>>,
}

/// An executable that was opened and read to its end. It stays open, so that it is the same one until this program
/// ends, even when another version is installed meanwhile.
#[derive(Clone, Debug)]
pub struct Opened {
    pub(super) file: Arc<File>,
    /// The file, for people.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// Its digest, in hexadecimal.
    pub sha256: String,
    /// What its headers tell.
    pub elf: Elf,
}

/// Why there is no executable to put.
#[derive(Debug, thiserror::Error)]
pub enum NoExecutable {
    /// It cannot be read.
    #[error("cannot read {path}; name another with --mover-executable")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is none for a pod.
    #[error(
        "{path} is no executable for Linux: {why}; name one with --mover-executable, of exactly this version"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: NotElf,
    },
}

impl Executable {
    /// The file of this name, else this program.
    #[must_use]
    pub fn of(named: Option<PathBuf>) -> Self {
        Self {
            named,
            opened: Arc::default(),
        }
    }

    /// Opens it, once.
    pub async fn opened(&self) -> Result<&Opened, NoExecutable> {
        let open = || async {
            let named = self.named.clone();
            let opened = spawn_blocking(move || match named {
                Some(path) => Opened::at(&path, path.clone()),
                None => Opened::own(),
            });
            opened.await.unwrap_or_else(|panic| {
                Err(NoExecutable::Unreadable {
                    path: self.named.clone().unwrap_or_default(),
                    source: io::Error::other(panic),
                })
            })
        };
        self.opened.get_or_try_init(open).await
    }
}

impl Opened {
    /// This program. Linux keeps it at hand under a name of its own, also after its file was replaced.
    fn own() -> Result<Self, NoExecutable> {
        let unreadable = |source| NoExecutable::Unreadable {
            path: "this program".into(),
            source,
        };
        let path = std::env::current_exe().map_err(unreadable)?;
        let kept = Path::new("/proc/self/exe");
        let opened = if kept.exists() { kept } else { &path };
        Self::at(opened, path.clone())
    }

    fn at(file: &Path, path: PathBuf) -> Result<Self, NoExecutable> {
        let unreadable = |source| NoExecutable::Unreadable {
            path: path.clone(),
            source,
        };
        let mut file = File::open(file).map_err(unreadable)?;
        let mut head = Vec::new();
        file.by_ref()
            .take(HEAD as u64)
            .read_to_end(&mut head)
            .map_err(unreadable)?;
        let elf = Elf::of(&head).map_err(|why| NoExecutable::Foreign {
            path: path.clone(),
            why,
        })?;
        let mut digest = Sha256::new_with_prefix(&head);
        let mut length = head.len() as u64;
        let mut piece = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut piece).map_err(unreadable)?;
            if count == 0 {
                break;
            }
            digest.update(&piece[..count]);
            length += count as u64;
        }
        Ok(Self {
            file: Arc::new(file),
            length,
            sha256: hexadecimal(&digest.finalize()),
            elf,
            path,
        })
    }

    /// So many of its bytes, from here on; fewer at its end.
    pub(super) async fn piece(&self, first: u64, most: u64) -> io::Result<Vec<u8>> {
        let file = Arc::clone(&self.file);
        let count = usize::try_from(most.min(self.length.saturating_sub(first)))
            .map_err(io::Error::other)?;
        let read = spawn_blocking(move || {
            let mut piece = vec![0; count];
            file.read_exact_at(&mut piece, first)?;
            Ok(piece)
        });
        read.await.map_err(io::Error::other)?
    }
}

/// The digest of a running program's own executable, and its length in bytes.
pub fn own_digest() -> Result<(String, u64), NoExecutable> {
    let own = Opened::own()?;
    Ok((own.sha256, own.length))
}

pub(in super::super) fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_program_is_read_and_its_pieces_are_its_own() {
        let executable = Executable::of(None);
        let opened = executable.opened().await.expect("it can be read");
        let bytes = std::fs::read("/proc/self/exe").expect("it can be read");
        assert_eq!(opened.length, bytes.len() as u64);
        assert_eq!(opened.sha256, hexadecimal(&Sha256::digest(&bytes)));
        let last = opened.length - 3;
        let piece = opened.piece(last, 100).await.expect("a piece");
        assert_eq!(piece, bytes[bytes.len() - 3..]);
        assert!(
            opened
                .piece(opened.length, 1)
                .await
                .expect("a piece")
                .is_empty()
        );
        assert_eq!(own_digest().expect("it can be read").0, opened.sha256);
    }

    #[tokio::test]
    async fn what_is_no_executable_is_told_with_what_it_is() {
        let script = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(script.path(), "#!/bin/sh\n").expect("room");
        let executable = Executable::of(Some(script.path().to_owned()));
        let error = executable.opened().await.expect_err("a script");
        let path = script.path().display();
        assert_eq!(
            error.to_string(),
            format!(
                "{path} is no executable for Linux: a script; name one with --mover-executable, of exactly this version"
            )
        );
        let missing = Executable::of(Some("/nowhere/at/all".into()));
        let error = missing.opened().await.expect_err("no file");
        assert!(matches!(error, NoExecutable::Unreadable { .. }), "{error}");
    }
}
