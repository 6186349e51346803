//! Extended attributes, as bytes that have one form: names in order, each name and value after
//! its length in 32 bits, little end first. The digest of an entry's attributes is that of
//! these bytes, and the bytes are kept as a version, so that attributes can be put back.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

/// The most that the kernel gives for one value or one list (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const VALUE_MAX_BYTES: usize = 64 << 10;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The attributes of an open file or directory in their one form; nothing for none.
pub(crate) fn read(file: impl AsFd) -> io::Result<Vec<u8>> {
    Ok(encode(&pairs(file)?))
}

/// Makes the attributes what `encoded` says.
pub(crate) fn write(file: impl AsFd, encoded: &[u8]) -> io::Result<()> {
    let file = file.as_fd();
    let wanted = decode(encoded)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a list of attributes"))?;
    let present = pairs(file)?;
    for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
        fremovexattr(file, name.as_slice())?;
    }
    for (name, value) in wanted.iter().filter(|(name, value)| present.get(*name) != Some(value)) {
        fsetxattr(file, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(())
}

fn pairs(file: impl AsFd) -> io::Result<Pairs> {
    let file = file.as_fd();
    let mut names = Vec::with_capacity(1 << 10);
    loop {
        match flistxattr(file, spare_capacity(&mut names)) {
            Ok(_) => break,
            Err(Errno::RANGE) if names.capacity() < VALUE_MAX_BYTES => {
                names = Vec::with_capacity(VALUE_MAX_BYTES);
            }
            // A file system that has none, or a directory that may only be passed through.
            Err(Errno::OPNOTSUPP | Errno::BADF) => return Ok(Pairs::new()),
            Err(error) => return Err(error.into()),
        }
    }
    let mut pairs = Pairs::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::with_capacity(VALUE_MAX_BYTES);
        match fgetxattr(file, name, spare_capacity(&mut value)) {
            Ok(_) => {
                pairs.insert(name.to_vec(), value);
            }
            // Gone since it was listed, or not ours to read.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(pairs)
}

fn encode(pairs: &Pairs) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
        let length = u32::try_from(part.len()).expect("invariant: the kernel bounds it to 64 KiB");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<Pairs> {
    let mut pairs = Pairs::new();
    while !bytes.is_empty() {
        let name = part(&mut bytes)?;
        pairs.insert(name, part(&mut bytes)?);
    }
    Some(pairs)
}

fn part(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(part.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_a_round_trip_and_cut_ones_do_not_pass() {
        let pairs =
            Pairs::from([(b"user.a".to_vec(), b"".to_vec()), (b"user.b".to_vec(), vec![0; 9])]);
        let bytes = encode(&pairs);
        assert_eq!(decode(&bytes), Some(pairs));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
    }
}
