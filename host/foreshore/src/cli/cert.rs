//! `foreshore cert`: a certificate of one's own, for trying out TLS.
//!
//! It is signed by nobody but itself, so clients have to be told to take it. The commands of this
//! program need not be: a server says in its data directory which certificate it has.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use foreshore_domain::moment::rfc3339;
use rcgen::{CertificateParams, DnType, KeyPair};

use super::ConfigArguments;
use super::exit::{Exit, Failure};
use super::output::print;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// Make a certificate for development, and its key.
#[derive(Debug, Args)]
pub(super) struct Cert {
    /// A name or an address that clients use (may be given several times) [default: localhost,
    /// 127.0.0.1 and ::1]
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// The directory to put server.crt and server.key in [default: tls in the data directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How long it counts, in days
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
    /// Replace what is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

impl Cert {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let directory = match &self.out {
            Some(directory) => directory.clone(),
            None => self.config.load()?.data.join("tls"),
        };
        let hosts = match &*self.hosts {
            [] => ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            hosts => hosts.to_vec(),
        };
        let (certificate, key) = pair(&hosts, self.days)?;
        std::fs::create_dir_all(&directory)
            .with_context(|| directory.display().to_string())
            .map_err(Failure::Other)?;
        let directory = std::path::absolute(&directory).context("the directory")?;
        let files = [("server.key", 0o600, key), ("server.crt", 0o644, certificate)];
        for (name, mode, text) in files {
            let file = directory.join(name);
            write(&file, mode, &text, self.force).map_err(|error| taken(&file, error))?;
        }
        eprintln!("for {}, over {} days; in the configuration:", hosts.join(", "), self.days);
        let quoted = |name: &str| {
            toml::Value::String(directory.join(name).display().to_string()).to_string()
        };
        let (certificate, key) = (quoted("server.crt"), quoted("server.key"));
        print(&format!("[server.tls]\ncertificate = {certificate}\nkey = {key}"));
        Ok(Exit::Success)
    }
}

/// Certificate and key, as PEM.
fn pair(hosts: &[String], days: u16) -> Result<(String, String), Failure> {
    let params = CertificateParams::new(hosts).map_err(|error| {
        Failure::Usage(format!("--host: {error}: write names and addresses without a port"))
    })?;
    let made = self_signed(params, days).context("the certificate was not made");
    made.map_err(Failure::Other)
}

fn self_signed(mut params: CertificateParams, days: u16) -> anyhow::Result<(String, String)> {
    let now_ms = foreshore_control::now_unix_ms();
    // The day before: clocks differ.
    let (year, month, day) = date(now_ms.saturating_sub(DAY_MS))?;
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = date(now_ms.saturating_add(DAY_MS * u64::from(days)))?;
    params.not_after = rcgen::date_time_ymd(year, month, day);
    params.distinguished_name.push(DnType::CommonName, "foreshore, for development");
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Year, month and day.
fn date(unix_ms: u64) -> anyhow::Result<(i32, u8, u8)> {
    let text = rfc3339(unix_ms);
    let mut parts = text.get(..10).unwrap_or_default().split('-');
    let mut next = || parts.next().context("a date has three parts");
    Ok((next()?.parse()?, next()?.parse()?, next()?.parse()?))
}

fn write(file: &Path, mode: u32, text: &str, force: bool) -> io::Result<()> {
    if force {
        // A new file, so that nobody who has the old one open or may read it sees the key.
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    File::options().write(true).create_new(true).mode(mode).open(file)?.write_all(text.as_bytes())
}

fn taken(file: &Path, error: io::Error) -> Failure {
    let hint = if error.kind() == io::ErrorKind::AlreadyExists {
        "; --force replaces it, --out DIR writes elsewhere"
    } else {
        ""
    };
    Failure::Other(anyhow!("{}: {error}{hint}", file.display()))
}
