//! The certificate of a server, and its key: read from files, and again when these change.
//!
//! What is in the files counts only as a whole that fits together: until then, and if it never
//! does, connections get the certificate from before, and whoever looks is told why. Connections
//! that are open stay as they are.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::time::sleep;

/// The most that either file holds.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain as PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its key as PEM.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that holds something else.
    #[error("{}: {message}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Each is fine, and they do not belong together.
    #[error("{} and {} do not fit together: {source}", certificate.display(), key.display())]
    Mismatch {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The protocol cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Settings(rustls::Error),
}

/// The certificate in force.
pub struct Certificates {
    files: TlsFiles,
    state: Mutex<State>,
    /// What clients can hold the server to: see [`Certificates::sha256`].
    told: watch::Sender<String>,
}

struct State {
    in_force: Arc<CertifiedKey>,
    /// Of what both files held when they were last looked at.
    looked_at: blake3::Hash,
    /// Why what they hold is not in force.
    fault: Option<String>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, or hold no chain and key that fit together.
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let content = Content::read(&files)?;
        let in_force = content.certified(&files)?;
        let told = watch::Sender::new(sha256(&in_force));
        let state = State { in_force, looked_at: content.hash(), fault: None };
        Ok(Arc::new(Self { files, state: Mutex::new(state), told }))
    }

    /// SHA-256 of the certificate in force (its DER), in hex.
    pub fn sha256(&self) -> String {
        self.told.borrow().clone()
    }

    /// Tells of each later certificate, by its SHA-256.
    pub fn changes(&self) -> watch::Receiver<String> {
        self.told.subscribe()
    }

    /// Why what the files hold now is not in force, if it is not.
    pub(crate) fn fault(&self) -> Option<String> {
        self.state().fault.clone()
    }

    /// Looks at the files now and then, for ever.
    pub(crate) async fn keep(self: Arc<Self>) -> std::convert::Infallible {
        loop {
            sleep(LOOK_EVERY).await;
            let this = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || this.look()).await {
                tracing::error!(%error, "looking at the certificate's files ended early");
            }
        }
    }

    /// Takes up what the files hold, if it is new and fits together.
    pub(crate) fn look(&self) {
        let content = match Content::read(&self.files) {
            Ok(content) => content,
            Err(error) => return self.keep_old(None, &error),
        };
        let hash = content.hash();
        let (is_known, has_fault) = {
            let state = self.state();
            (state.looked_at == hash, state.fault.is_some())
        };
        if is_known && !has_fault {
            return;
        }
        match content.certified(&self.files) {
            Ok(certified) => self.take_up(certified, hash),
            Err(error) => self.keep_old(Some(hash), &error),
        }
    }

    fn take_up(&self, certified: Arc<CertifiedKey>, hash: blake3::Hash) {
        let sha256 = sha256(&certified);
        let mut state = self.state();
        *state = State { in_force: certified, looked_at: hash, fault: None };
        drop(state);
        tracing::info!(%sha256, "a certificate was taken up");
        self.told.send_if_modified(|told| {
            let is_new = *told != sha256;
            *told = sha256;
            is_new
        });
    }

    /// Said once of each fault, however often it is looked.
    fn keep_old(&self, hash: Option<blake3::Hash>, error: &TlsError) {
        let text = error.to_string();
        let mut state = self.state();
        if let Some(hash) = hash {
            state.looked_at = hash;
        }
        if state.fault.as_ref() != Some(&text) {
            tracing::warn!(error = %text, "the certificate from before stays in force");
            state.fault = Some(text);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A std mutex: nothing awaits while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.state().in_force))
    }
}

/// What both files hold.
struct Content {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Content {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { chain: bytes(&files.certificate)?, key: bytes(&files.key)? })
    }

    fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(blake3::hash(&self.chain).as_bytes());
        hasher.update(blake3::hash(&self.key).as_bytes());
        hasher.finalize()
    }

    fn certified(&self, files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
        let content =
            |path: &Path, message: String| TlsError::Content { path: path.to_owned(), message };
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(&self.chain).collect();
        let chain = chain.map_err(|error| content(&files.certificate, error.to_string()))?;
        if chain.is_empty() {
            let message = "it holds no certificate (PEM: -----BEGIN CERTIFICATE-----)".to_owned();
            return Err(content(&files.certificate, message));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| content(&files.key, format!("it holds no private key: {error}")))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider);
        certified.map(Arc::new).map_err(|source| TlsError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_MAX_BYTES) {
        let message = format!("larger than {FILE_MAX_BYTES} bytes");
        return Err(TlsError::Content { path: path.to_owned(), message });
    }
    Ok(bytes)
}

fn sha256(certified: &CertifiedKey) -> String {
    certified.cert.first().map(|own| fingerprint(own)).unwrap_or_default()
}

/// SHA-256 of a certificate's DER, in hex: what a client can hold a server to.
pub fn fingerprint(certificate: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Made {
        directory: tempfile::TempDir,
        files: TlsFiles,
    }

    impl Made {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("made");
            let [certificate, key] = ["a.crt", "a.key"].map(|name| directory.path().join(name));
            let made = Self { directory, files: TlsFiles { certificate, key } };
            made.put(&pair());
            made
        }

        fn put(&self, (chain, key): &(String, String)) {
            std::fs::write(&self.files.certificate, chain).expect("written");
            std::fs::write(&self.files.key, key).expect("written");
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_the_name_of_its_file() {
        let made = Made::new();
        assert!(Certificates::open(made.files.clone()).is_ok());
        let (chain, key) = pair();
        let other = pair();
        for (chain, key, named) in [
            ("", &*key, "a.crt: it holds no certificate"),
            ("nonsense", &key, "a.crt: it holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nx", &key, "a.crt: "),
            (&chain, "", "a.key: it holds no private key"),
            (&chain, &chain, "a.key: it holds no private key"),
            (&chain, &other.1, "do not fit together"),
        ] {
            made.put(&(chain.to_owned(), key.to_owned()));
            let error = Certificates::open(made.files.clone()).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
        std::fs::write(&made.files.key, vec![b'x'; (1 << 20) + 1]).expect("written");
        let error = Certificates::open(made.files.clone()).expect_err("too large").to_string();
        assert!(error.contains("larger than"), "{error}");
        std::fs::remove_file(&made.files.key).expect("removed");
        let error = Certificates::open(made.files.clone()).expect_err("gone").to_string();
        assert!(error.contains("a.key"), "{error}");
        assert!(made.directory.path().is_dir());
    }

    #[test]
    fn a_new_pair_is_taken_up_and_a_broken_one_leaves_the_old_in_force() {
        let made = Made::new();
        let certificates = Certificates::open(made.files.clone()).expect("fine");
        let mut changes = certificates.changes();
        let first = certificates.sha256();
        certificates.look();
        assert!(!changes.has_changed().expect("open"), "nothing is new");

        // The certificate comes before its key: for a moment they do not fit.
        let next = pair();
        std::fs::write(&made.files.certificate, &next.0).expect("written");
        certificates.look();
        assert_eq!(certificates.sha256(), first);
        assert!(certificates.fault().is_some_and(|fault| fault.contains("fit together")));
        std::fs::write(&made.files.key, &next.1).expect("written");
        certificates.look();
        assert_ne!(certificates.sha256(), first);
        assert_eq!(certificates.fault(), None);
        assert!(changes.has_changed().expect("open"));
        assert_eq!(*changes.borrow_and_update(), certificates.sha256());

        let second = certificates.sha256();
        std::fs::remove_file(&made.files.certificate).expect("removed");
        certificates.look();
        assert!(certificates.fault().is_some_and(|fault| fault.contains("a.crt")));
        assert_eq!(certificates.sha256(), second);
        made.put(&next);
        certificates.look();
        assert_eq!(certificates.fault(), None, "it is back");
        assert!(!changes.has_changed().expect("open"), "and is the same");
    }
}
