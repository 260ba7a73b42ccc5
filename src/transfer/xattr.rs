//! Extended attributes of an entry.
use super::at::At;
use super::entry::Xattr;
use rustix::io::Errno;

/// The kernel never lists or returns more (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LARGEST: usize = 64 << 10;

/// The label belongs to the node's policy, not to the data.
const LEFT_ALONE: &[u8] = b"security.selinux";

/// Reads extended attributes with buffers of its own.
#[derive(Default)]
pub(crate) struct XattrReader {
    names: Vec<u8>,
    value: Vec<u8>,
    /// This file system has none.
    unsupported: bool,
}

impl XattrReader {
    /// All extended attributes that are copied, sorted by name.
    pub(crate) fn read(&mut self, at: At<'_>) -> Result<Vec<Xattr>, Errno> {
        if self.unsupported {
            return Ok(Vec::new());
        }
        let length = match filled(&mut self.names, |buffer| at.list_xattrs(buffer)) {
            Err(Errno::NOTSUP) => {
                self.unsupported = true;
                return Ok(Vec::new());
            }
            result => result?,
        };
        if length == 0 {
            return Ok(Vec::new());
        }
        let mut xattrs = Vec::new();
        for name in self.names[..length].split(|byte| *byte == 0) {
            if name.is_empty() || name == LEFT_ALONE {
                continue;
            }
            match filled(&mut self.value, |buffer| at.xattr(name, buffer)) {
                Ok(length) => xattrs.push(Xattr {
                    name: name.to_vec(),
                    value: self.value[..length].to_vec(),
                }),
                // Removed between the list and now, or listed without the right to read it (`trusted.*`).
                Err(Errno::NODATA | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
        xattrs.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(xattrs)
    }
}

/// Calls with a small buffer first: the kernel allocates as much as it is offered, and most lists are empty.
fn filled(
    buffer: &mut Vec<u8>,
    mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    buffer.resize(buffer.len().max(1024), 0);
    match call(&mut buffer[..1024]) {
        Err(Errno::RANGE) => {
            buffer.resize(LARGEST, 0);
            call(buffer)
        }
        result => result,
    }
}

/// Removes one extended attribute; one that is not there is fine.
pub(crate) fn remove(at: At<'_>, xattr: &[u8]) -> Result<(), Errno> {
    match at.remove_xattr(xattr) {
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        result => result,
    }
}
