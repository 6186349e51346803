//! `wasi:filesystem`: the directories that the operator mounted.
//!
//! Granted by `Grant::mounts`. A guest reaches a file only from the handle of a mount, along
//! a path that the kernel keeps beneath it; each change goes through the door before it is
//! made and counts against the quota of its mount; only regular files and directories open.
//! Every "no" is noted in the call's denials with its code.
//!
//! File operations run on the guest's own thread, which for files in the page cache is
//! several times cheaper than a thread of their own; the scheduler sees the time, and a guest
//! that keeps the thread busy gives it back each millisecond. Changes of a mount that somebody
//! watches are the exception: they wait for a record, on a thread of their own.

mod changes;
mod descriptor;
mod metadata;
mod mounts;
mod open;
mod places;
mod quota;
mod streams;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{Effect, EffectError, FileChange, FileChangeKind};
use foreshore_domain::grant::{Access, mount_grant};
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{FsError, FsResult};

use self::changes::Authored;
use self::mounts::OpenMount;
pub(crate) use self::mounts::{MountTable, Mounts};
use self::quota::{Exhausted, Lease};
use crate::state::{CallScope, State};

/// The files of one call. Costs nothing until the guest asks for its directories.
pub(crate) struct Files {
    mounts: Mounts,
    /// What is known of each open descriptor, by its index in the resource table.
    opened: HashMap<u32, Opened>,
    /// The streams whose writes are announced, by their index in the resource table.
    announcing: HashSet<u32>,
}

impl Files {
    pub(crate) fn new(mounts: Mounts) -> Self {
        Self { mounts, opened: HashMap::new(), announcing: HashSet::new() }
    }

    /// Whether a write to a stream has to wait for others, so that only the functions of the
    /// stream that wait may be used.
    pub(crate) fn announces(&self, stream: u32) -> bool {
        self.announcing.contains(&stream)
    }

    /// A stream is gone.
    pub(crate) fn stream_dropped(&mut self, stream: u32) {
        self.announcing.remove(&stream);
    }
}

/// Where an open descriptor belongs.
#[derive(Clone)]
struct Opened {
    mount: Arc<OpenMount>,
    /// The path in the guest's eyes: absolute, and normal as far as its text goes.
    path: Arc<str>,
    /// Keeps the bytes of a file counted while it is open, also when its last name is gone.
    _lease: Option<Arc<Lease>>,
    /// What edits go through, if the file is open for writing and watched.
    writing: Option<Arc<Authored>>,
}

impl Opened {
    /// The path of `relative`, in the guest's eyes.
    fn join(&self, relative: &str) -> String {
        let mut parts: Vec<&str> = self.path.split('/').filter(|part| !part.is_empty()).collect();
        for part in relative.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }
}

pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    preopens::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl preopens::Host for State {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.scope.count_operation()?;
        let mut directories = Vec::with_capacity(self.files.mounts.len());
        for mount in self.files.mounts.iter() {
            let resource = self.table.push(Descriptor::Dir(mount.directory().clone()))?;
            let path = mount.guest_path();
            let opened =
                Opened { mount: Arc::clone(mount), path: path.into(), _lease: None, writing: None };
            self.files.opened.insert(resource.rep(), opened);
            directories.push((resource, path.to_owned()));
        }
        Ok(directories)
    }
}

impl types::Host for State {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        if error.downcast_ref::<Exhausted>().is_some() {
            return Ok(Some(ErrorCode::Quota));
        }
        Ok(error.downcast_ref::<io::Error>().map(ErrorCode::from))
    }
}

impl State {
    /// What is known of an open descriptor.
    fn opened(&self, descriptor: &Resource<Descriptor>) -> FsResult<Opened> {
        self.scope.count_operation().map_err(FsError::trap)?;
        self.files
            .opened
            .get(&descriptor.rep())
            .cloned()
            .ok_or_else(|| ErrorCode::BadDescriptor.into())
    }

    /// A directory, and where it belongs.
    fn directory(
        &self,
        descriptor: &Resource<Descriptor>,
    ) -> FsResult<(Opened, Arc<std::fs::File>)> {
        let opened = self.opened(descriptor)?;
        match self.table.get(descriptor)? {
            Descriptor::Dir(directory) => Ok((opened, Arc::clone(&directory.dir))),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }
}

impl CallScope {
    /// Asks whether a change may be made: first the mount, then the door.
    async fn may_change(&self, opened: &Opened, path: &str, kind: FileChangeKind) -> FsResult<()> {
        self.may_write(opened, path)?;
        let change =
            FileChange { mount: opened.mount.mount().clone(), path: path.to_owned(), kind };
        match self.effects.perform(&self.context, Effect::ChangeFile(change)).await {
            Ok(_) => Ok(opened.mount.count_once().await?),
            Err(EffectError::Denied(_)) => Err(ErrorCode::NotPermitted.into()),
            Err(_) => Err(ErrorCode::Io.into()),
        }
    }

    /// # Errors
    /// The mount is read-only; noted as a denial.
    fn may_write(&self, opened: &Opened, path: &str) -> FsResult<()> {
        if opened.mount.access() == Access::ReadWrite {
            return Ok(());
        }
        let subject = opened.join(path);
        self.deny(Denial {
            code: DenialCode::MountReadOnly,
            grant: mount_grant(
                &self.context.component,
                &opened.mount.mount().host.display().to_string(),
                opened.mount.guest_path(),
                Access::ReadWrite,
            ),
            subject,
        });
        Err(ErrorCode::NotPermitted.into())
    }

    /// # Errors
    /// A symbolic link that would lead out of its mount. The guest could not follow it, but
    /// another program of the host might.
    fn may_point(&self, opened: &Opened, path: &str, target: &str) -> FsResult<()> {
        let link = opened.join(path);
        let depth = parts(&link).count().saturating_sub(parts(opened.mount.guest_path()).count());
        // A link lies in a directory: that is one level up.
        if !target.starts_with('/') && stays_within(depth.saturating_sub(1), target) {
            return Ok(());
        }
        self.deny(Denial {
            code: DenialCode::MountNotGranted,
            subject: format!("{link} -> {target}"),
            grant: String::new(),
        });
        Err(ErrorCode::NotPermitted.into())
    }

    /// Notes a denial that the runtime itself decided.
    fn deny(&self, denial: Denial) {
        self.context.denials.push(denial);
    }

    /// Notes that a thing is neither a regular file nor a directory.
    fn deny_type(&self, opened: &Opened, path: &str) -> ErrorCode {
        self.deny(Denial {
            code: DenialCode::FileTypeNotAllowed,
            subject: opened.join(path),
            grant: String::new(),
        });
        ErrorCode::NotPermitted
    }

    /// Notes that a quota is used up.
    fn deny_quota(&self, opened: &Opened, path: &str, exhausted: Exhausted) {
        let (code, setting, max) = match exhausted {
            Exhausted::Bytes { max } => (DenialCode::MountBytesExhausted, "bytes_max", max),
            Exhausted::Entries { max } => (DenialCode::MountEntriesExhausted, "entries_max", max),
        };
        self.deny(Denial {
            code,
            subject: opened.join(path),
            grant: format!(
                "[components.{}] mounts = [{{ guest = {:?}, {setting} = N }}] with N above {max}",
                self.context.component.name,
                opened.mount.guest_path(),
            ),
        });
    }

    /// The code for a failed operation; a path that leads out of its mount is a denial.
    fn failed(&self, opened: &Opened, path: &str, error: &io::Error) -> ErrorCode {
        if !leads_outside(error) {
            return error.into();
        }
        let subject = opened.join(path);
        let grant = &self.context.grant;
        let denial = grant.deny_path(&self.context.component, &subject, Access::ReadOnly);
        self.deny(denial.unwrap_or(Denial {
            code: DenialCode::MountNotGranted,
            subject,
            grant: String::new(),
        }));
        ErrorCode::NotPermitted
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

/// Whether a relative path that starts `depth` levels below a root never leaves it.
fn stays_within(mut depth: usize, path: &str) -> bool {
    parts(path).all(|part| {
        let next = if part == ".." { depth.checked_sub(1) } else { depth.checked_add(1) };
        next.inspect(|next| depth = *next).is_some()
    })
}

/// cap-std's own refusal, which no system call gives: it has no number.
fn leads_outside(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_may_point_anywhere_within_its_mount_and_nowhere_else() {
        assert!(stays_within(0, "file") && stays_within(1, "../file") && stays_within(0, "a/../b"));
        assert!(
            !stays_within(0, "..") && !stays_within(1, "../..") && !stays_within(0, "a/../../b")
        );
    }
}
