//! `foreshore store`: the journal as a file: check, rebuild, back up, restore, shorten.
//!
//! Where a server has the journal, what can be done meanwhile is asked of it; the rest needs it
//! stopped and says so. Where none has, the file is opened here. Deliberately absent: a restore
//! that hides itself: the journal that was there is kept, and the new one records that it was
//! accepted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use foreshore_control::now_unix_ms;
use foreshore_store::{Journal, JournalConfig, OpenError, Progress};
use serde_json::{Value, json};

use super::ConfigArguments;
use super::events::load;
use super::exit::{Exit, Failure};
use super::output::{Paint, Waiting, bytes, grouped, print, print_json};
use crate::client::{self, Place};
use crate::config::Config;
use crate::wire_up;

/// Check, copy, restore and shorten the journal.
#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Show what the journal holds and what it takes on the disk
    Stats(Common),
    /// Hold the journal to its checksums and its chain, and the views to the events
    Check(Common),
    /// Make the views again from the events
    Rebuild(Common),
    /// Copy the journal, while a server goes on
    Backup(ToFile),
    /// Put a backup in the place of the journal, which is kept beside it; needs no server
    Restore(ToFile),
    /// Write every event to a file for foreshore-verify; needs no server
    Export(ToFile),
    /// Give room that is free within the journal back to the disk; needs no server
    Compact(Common),
    /// Move old events to a file, under a signed anchor; needs no server
    Archive(Archive),
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct ToFile {
    file: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Archive {
    /// A file that is not there yet
    file: PathBuf,
    /// Move the events before this one
    #[arg(long, value_name = "SEQ")]
    before: u64,
    #[command(flatten)]
    common: Common,
}

impl Store {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Stats(common) => common.work("GET", "stats", stats, stats_text),
            Self::Check(common) => common.work("POST", "check", check, check_text),
            Self::Rebuild(common) => common.work("POST", "rebuild", rebuild, rebuild_text),
            Self::Backup(command) => command.backup(),
            Self::Restore(command) => command.restore(),
            Self::Export(command) => command.export(),
            Self::Compact(common) => common.alone(compact, |answer, _| {
                let left = bytes(number(answer, "allocated_bytes"));
                format!(
                    "{left} in use{}",
                    if answer["compacted"] == true {
                        ""
                    } else {
                        ": there was no room to give back"
                    }
                )
            }),
            Self::Archive(command) => command.run(),
        }
    }
}

impl Common {
    /// Work that a server does, or that is done on the file where none runs.
    fn work(
        &self,
        method: &str,
        route: &str,
        on_file: impl AsyncFnOnce(Journal, Arc<Waiting>) -> Result<Value, Failure>,
        text: impl FnOnce(&Value, &Paint) -> String,
    ) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let waiting = Arc::new(Waiting::new(format!("{route} of the journal")));
        let answer = wire_up::block_on(async {
            match client::running(&config).await {
                Some(_) => Ok(None),
                None => with_journal(&config, &waiting, on_file).await.map(Some),
            }
        });
        let answer = match answer? {
            Some(answer) => answer,
            None => client::ask(&config, async |client| {
                client.send(method, &format!("/v1/store/{route}"), None).await
            })?,
        };
        drop(waiting);
        self.show(&answer, text)
    }

    /// Work that nobody may have the journal for.
    fn alone(
        &self,
        on_file: impl AsyncFnOnce(Journal, Arc<Waiting>) -> Result<Value, Failure>,
        text: impl FnOnce(&Value, &Paint) -> String,
    ) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let waiting = Arc::new(Waiting::new("working on the journal"));
        let answer = wire_up::block_on(async {
            no_server(&config).await?;
            with_journal(&config, &waiting, on_file).await
        });
        drop(waiting);
        self.show(&answer?, text)
    }

    fn show(
        &self,
        answer: &Value,
        text: impl FnOnce(&Value, &Paint) -> String,
    ) -> Result<Exit, Failure> {
        if self.json {
            print_json(answer);
        } else {
            print(&text(answer, &Paint::stdout()));
        }
        Ok(Exit::Success)
    }
}

async fn no_server(config: &Config) -> Result<(), Failure> {
    match client::running(config).await {
        None => Ok(()),
        Some(place) => Err(has_it(config, &place)),
    }
}

fn has_it(config: &Config, place: &Place) -> Failure {
    let data = config.data.display();
    Failure::Other(anyhow!("the server at {place} has the journal in {data}: stop it first"))
}

/// Opens the journal, works on it, and closes it.
async fn with_journal<T>(
    config: &Config,
    waiting: &Arc<Waiting>,
    work: impl AsyncFnOnce(Journal, Arc<Waiting>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let path = wire_up::journal_path(config);
    if !path.is_file() {
        return Err(Failure::Other(anyhow!("there is no journal {}", path.display())));
    }
    let said = |progress: Progress| waiting.say(rebuilding(progress));
    let journal = Journal::open_with(&path, &JournalConfig::default(), said);
    let journal = journal.map_err(|error| not_opened(config, error))?;
    let done = work(journal.clone(), Arc::clone(waiting)).await;
    journal.close().await;
    done
}

fn not_opened(config: &Config, error: OpenError) -> Failure {
    match error {
        OpenError::InUse { path } => client::in_use(config, &path),
        error => Failure::Start(error.into()),
    }
}

fn rebuilding(progress: Progress) -> String {
    let Progress { seq, last_seq } = progress;
    format!("making the views again: event {} of {}", grouped(seq), grouped(last_seq))
}

async fn stats(journal: Journal, _: Arc<Waiting>) -> Result<Value, Failure> {
    let stats = journal.stats().await.context("figures of the journal")?;
    Ok(json!({
        "seq": stats.tip.seq,
        "events": stats.events,
        "commits": stats.frames,
        "blobs": stats.blobs,
        "stored_bytes": stats.stored_bytes,
        "metadata_bytes": stats.metadata_bytes,
        "fragmented_bytes": stats.fragmented_bytes,
        "allocated_bytes": stats.allocated_bytes,
    }))
}

fn stats_text(stats: &Value, _: &Paint) -> String {
    let number = |name: &str| number(stats, name);
    format!(
        "events    {} in {} commits; the last is {}\nblobs     {}\nin use    {}: {} of content, {} of bookkeeping\ngaps      {}",
        grouped(number("events")),
        grouped(number("commits")),
        grouped(number("seq")),
        grouped(number("blobs")),
        bytes(number("allocated_bytes")),
        bytes(number("stored_bytes")),
        bytes(number("metadata_bytes")),
        bytes(number("fragmented_bytes")),
    )
}

async fn check(journal: Journal, _: Arc<Waiting>) -> Result<Value, Failure> {
    let checked = journal.check().await.context("the journal does not pass its check")?;
    // The check looks at the chain; the signed checkpoints are looked at besides.
    let verify = move || journal.verify();
    let verified = tokio::task::spawn_blocking(verify).await.context("the check broke off")?;
    verified.context("the journal does not pass its check")?;
    Ok(json!({
        "events": checked.verified.events,
        "blobs": checked.blobs,
        "views": checked.views,
        "seq": checked.verified.tip.seq,
    }))
}

fn check_text(checked: &Value, paint: &Paint) -> String {
    let number = |name: &str| grouped(number(checked, name));
    let (events, blobs, views) = (number("events"), number("blobs"), number("views"));
    format!("{}: {events} events, {blobs} blobs, {views} views", paint.green("sound"))
}

async fn rebuild(journal: Journal, waiting: Arc<Waiting>) -> Result<Value, Failure> {
    let said = move |progress: Progress| waiting.say(rebuilding(progress));
    journal.rebuild(said).await.context("the views could not be made again")?;
    Ok(json!({ "seq": journal.tip().seq }))
}

fn rebuild_text(rebuilt: &Value, _: &Paint) -> String {
    format!("the views hold the events up to {}", grouped(number(rebuilt, "seq")))
}

async fn compact(journal: Journal, _: Arc<Waiting>) -> Result<Value, Failure> {
    let compacted = journal.compact().await.context("the journal was not compacted")?;
    let stats = journal.stats().await.context("figures of the journal")?;
    Ok(json!({ "compacted": compacted, "allocated_bytes": stats.allocated_bytes }))
}

impl ToFile {
    fn backup(self) -> Result<Exit, Failure> {
        let config = load(&self.common.config)?;
        not_there(&self.file)?;
        let waiting = Arc::new(Waiting::new("copying the journal"));
        let file = std::path::absolute(&self.file).context("the backup")?;
        let to = file.clone();
        let seq = wire_up::block_on(async {
            match client::running(&config).await {
                Some(_) => Ok::<_, Failure>(None),
                None => with_journal(&config, &waiting, async |journal, _| {
                    let tip = journal.backup(&to).await.context("the backup was not made")?;
                    Ok(tip.seq)
                })
                .await
                .map(Some),
            }
        })?;
        let seq = match seq {
            Some(seq) => seq,
            None => {
                let made = client::ask(&config, async |client| {
                    client.send("POST", "/v1/store/backup", None).await
                })?;
                fetch(&config, &made, &file)?;
                number(&made, "seq")
            }
        };
        drop(waiting);
        let answer = json!({ "file": file.display().to_string(), "seq": seq });
        self.common.show(&answer, |_, paint| {
            format!("{} to event {}: {}", paint.green("backed up"), grouped(seq), file.display())
        })
    }

    fn export(self) -> Result<Exit, Failure> {
        not_there(&self.file)?;
        let file = self.file.clone();
        let export = async |journal: Journal, _| {
            let part = with_suffix(&file, ".part");
            let write = move || -> Result<Value, Failure> {
                let mut to = std::fs::File::create(&part).context("the export")?;
                let exported = journal.export(&mut std::io::BufWriter::new(&mut to));
                let placed = exported.context("the export").and_then(|exported| {
                    to.sync_all().context("the export")?;
                    std::fs::rename(&part, &file).context("the export")?;
                    Ok(json!({ "first_seq": exported.first_seq, "events": exported.events, "seq": exported.tip.seq }))
                });
                if placed.is_err() {
                    let _ = std::fs::remove_file(&part);
                }
                Ok(placed?)
            };
            tokio::task::spawn_blocking(write).await.context("the export broke off")?
        };
        self.common.alone(export, |answer, paint| {
            let events = grouped(number(answer, "events"));
            format!("{} {events} events: {}", paint.green("exported"), self.file.display())
        })
    }

    fn restore(self) -> Result<Exit, Failure> {
        let config = load(&self.common.config)?;
        let waiting = Waiting::new("restoring the journal");
        let restored = wire_up::block_on(restore(&config, &self.file));
        drop(waiting);
        self.common.show(&restored?, |answer, paint| {
            let mut text = format!(
                "{} to event {}; accepted as it is, in epoch {} of its checkpoints, and recorded as journal.accepted",
                paint.green("restored"),
                grouped(number(answer, "seq")),
                number(answer, "epoch"),
            );
            if let Some(kept) = answer["kept"].as_str() {
                text += &format!("\nthe journal that was there is kept: {kept}");
            }
            text
        })
    }
}

/// Moves a server's backup to where it was asked for, or copies it to another file system.
fn fetch(config: &Config, made: &Value, file: &Path) -> Result<(), Failure> {
    let name = made["name"].as_str().and_then(|name| Path::new(name).file_name());
    let name = name.context("the server does not say where its backup is")?;
    let backup = config.data.join("backups").join(name);
    if std::fs::hard_link(&backup, file).is_err() {
        not_there(file)?;
        let part = with_suffix(file, ".part");
        std::fs::copy(&backup, &part)
            .and_then(|_| std::fs::File::open(&part)?.sync_all())
            .and_then(|()| std::fs::rename(&part, file))
            .with_context(|| format!("{}, a copy of {}", file.display(), backup.display()))?;
    }
    std::fs::remove_file(&backup).with_context(|| backup.display().to_string())?;
    Ok(())
}

async fn restore(config: &Config, backup: &Path) -> Result<Value, Failure> {
    no_server(config).await?;
    let journal = wire_up::journal_path(config);
    std::fs::create_dir_all(&config.data).with_context(|| config.data.display().to_string())?;
    // Whoever has the journal would go on writing into a file that is no longer in its place.
    if journal.is_file()
        && let Err(foreshore_store::AuditError::InUse { path }) =
            foreshore_store::audit(&journal, &[])
    {
        return Err(client::in_use(config, &path));
    }
    let now = now_unix_ms();
    let part = config.data.join(format!("journal.restored-{now}.redb"));
    let (from, to) = (backup.to_owned(), part.clone());
    let tip = tokio::task::spawn_blocking(move || Journal::restore(&from, &to)).await;
    let tip = tip.context("the restore broke off")?.context("the journal is as it was")?;
    let kept = journal.exists().then(|| config.data.join(format!("journal.replaced-{now}.redb")));
    if let Some(kept) = &kept {
        std::fs::rename(&journal, kept).with_context(|| kept.display().to_string())?;
    }
    std::fs::rename(&part, &journal).with_context(|| journal.display().to_string())?;
    let reason = format!("restored from {}", backup.display());
    let accepted = Journal::accept(&journal, &JournalConfig::default(), now, &reason).await;
    let accepted = accepted.context("the journal was restored and not accepted")?;
    let epoch = accepted.checkpoints().and_then(|newest| newest.borrow().map(|c| c.epoch));
    accepted.close().await;
    let kept = kept.map(|kept| kept.display().to_string());
    Ok(json!({ "seq": tip.seq, "epoch": epoch, "kept": kept }))
}

impl Archive {
    fn run(self) -> Result<Exit, Failure> {
        let (file, before) = (self.file.clone(), self.before);
        let archive = async |journal: Journal, _| {
            let archived = journal.archive(before, &file, now_unix_ms()).await;
            let archived = archived.context("nothing was archived")?;
            Ok(json!({
                "file": archived.path.display().to_string(),
                "first_seq": archived.first_seq,
                "last_seq": archived.last_seq,
            }))
        };
        self.common.alone(archive, |answer, paint| {
            let (first, last) = (number(answer, "first_seq"), number(answer, "last_seq"));
            let file = self.file.display();
            format!(
                "{} events {} to {}: {file}; rebuilding needs this file where it is",
                paint.green("archived"),
                grouped(first),
                grouped(last)
            )
        })
    }
}

fn not_there(file: &Path) -> Result<(), Failure> {
    if file.exists() {
        return Err(Failure::Usage(format!("{} is there already", file.display())));
    }
    Ok(())
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    file.with_file_name(name)
}

fn number(answer: &Value, name: &str) -> u64 {
    answer[name].as_u64().unwrap_or(0)
}
