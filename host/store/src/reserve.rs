//! Room on the disk that is kept for the event of a full disk.
//!
//! A file beside the database, given up when the disk is full, so that the journal can still
//! say so, and made again when there is room: only then does safe mode end. It holds bytes that
//! do not compress, since a file of zeros reserves nothing on some file systems.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Enough for one commit of a full group of ordinary events, twice.
pub(crate) const RESERVE_BYTES: u64 = 8 << 20;

pub(crate) struct Reserve {
    path: PathBuf,
    make: Make,
}

/// Takes the room; what fails may leave a part of it.
pub(crate) type Make = Box<dyn Fn(&Path) -> std::io::Result<()> + Send>;

impl Reserve {
    /// Beside a database, under its name.
    pub(crate) fn beside(database: &Path) -> Self {
        Self::at(database.with_extension("reserve"), Box::new(make))
    }

    pub(crate) fn at(path: PathBuf, make: Make) -> Self {
        Self { path, make }
    }

    /// Makes it, if it is not there in full.
    pub(crate) fn ensure(&self) -> std::io::Result<()> {
        if std::fs::metadata(&self.path).is_ok_and(|found| found.len() == RESERVE_BYTES) {
            return Ok(());
        }
        let made = (self.make)(&self.path);
        if made.is_err() {
            // Half a reserve would be in the way of what it is for.
            self.give_up();
        }
        made
    }

    pub(crate) fn give_up(&self) {
        match std::fs::remove_file(&self.path) {
            Ok(()) => tracing::warn!(path = ?self.path, "the journal's reserve was given up"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(path = ?self.path, %error, "the reserve cannot be given up")
            }
        }
    }
}

fn make(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let mut noise = blake3::Hasher::new_derive_key("foreshore journal reserve 1").finalize_xof();
    let mut left = RESERVE_BYTES;
    let mut block = [0; 64 << 10];
    while left > 0 {
        noise.fill(&mut block);
        let part = usize::try_from(left).unwrap_or(block.len()).min(block.len());
        file.write_all(&block[..part])?;
        left -= u64::try_from(part).unwrap_or(left);
    }
    file.sync_all()
}
