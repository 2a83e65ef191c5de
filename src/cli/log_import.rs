//! `koschei log import`: checks the whole export before it appends the first event, so that a
//! damaged export leaves no half log.
//!
//! A later failure, such as a lost database, leaves a part of the log. One transaction for five
//! million events would need a write-ahead log of more than a gigabyte, and would start again each
//! time. So the part stays, the log is marked as unfinished, and only the same import opens it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{CliError, DbArgs, Done};
use crate::event::{Event, Record, cloudevents};
use crate::log::{self, Attachment, Commit, EventLog, Head, LogError, Options};
use crate::model::{Class, Classified, Seq};

/// Longest line of an export, in bytes: an event with its envelope, or an attachment.
const LINE_MAX: u64 = 1 << 30;
/// Number of events per commit.
const BATCH: usize = 1000;

/// Import an export into an empty log, or into one that holds its beginning.
///
/// Every hash of the export is checked before anything is imported. Nothing of a damaged export is
/// imported.
///
/// If the import is interrupted later, for example by a lost database, every other command refuses
/// the log. Run the same import again to continue.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei log import --from koschei.jsonl --db postgres://koschei@db/koschei")]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Export to read, or - for standard input, which is copied to a temporary file
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

/// A line of an export that carries an attachment.
#[derive(Serialize, Deserialize)]
pub(super) struct AttachmentLine {
    pub(super) koschei_attachment: String,
    pub(super) content: String,
}

/// The content of a line.
enum Carried {
    Attachment(Attachment),
    Event(Box<Record>),
}

/// An export, read line by line.
struct Export {
    path: PathBuf,
    text: BufReader<File>,
    number: u64,
}

impl Export {
    /// Opens a file. Input that can be read only once is copied to a temporary file.
    fn open(path: &Path) -> Result<Self, CliError> {
        let failed = |source: io::Error| CliError::Rejected(format!("read {}: {source}", path.display()));
        let file = match path == Path::new("-") {
            true => kept(&mut io::stdin().lock())?,
            false => {
                let mut file = File::open(path).map_err(failed)?;
                match file.metadata().map_err(failed)?.is_file() {
                    true => file,
                    false => kept(&mut file)?,
                }
            }
        };
        Ok(Self { path: path.to_owned(), text: BufReader::new(file), number: 0 })
    }

    /// Goes back to the first line.
    fn rewind(&mut self) -> Result<(), CliError> {
        self.number = 0;
        Ok(self.text.rewind()?)
    }

    fn rejected(&self, what: impl std::fmt::Display) -> CliError {
        CliError::Rejected(format!("import {} line {}: {what}; nothing was imported", self.path.display(), self.number))
    }

    fn next(&mut self) -> Result<Option<Carried>, CliError> {
        loop {
            self.number += 1;
            let mut line = Vec::new();
            let n = (&mut self.text).take(LINE_MAX + 1).read_until(b'\n', &mut line)?;
            if n == 0 {
                return Ok(None);
            }
            if n as u64 > LINE_MAX {
                return Err(self.rejected(format!("it is longer than {LINE_MAX} bytes")));
            }
            let text = std::str::from_utf8(&line).map_err(|e| self.rejected(e))?.trim();
            if text.is_empty() {
                continue;
            }
            let Ok(a) = serde_json::from_str::<AttachmentLine>(text) else {
                let record = cloudevents::from_json(text).map_err(|e| self.rejected(e))?;
                return Ok(Some(Carried::Event(Box::new(record))));
            };
            let attachment = Attachment::new(a.content.into_bytes());
            if attachment.digest != a.koschei_attachment {
                return Err(self.rejected("the attachment does not match its digest"));
            }
            return Ok(Some(Carried::Attachment(attachment)));
        }
    }

    /// Reads the whole export. Checks that events have no gap from the first one on, and that each
    /// hash follows from the content and the predecessor.
    fn check(&mut self) -> Result<Head, CliError> {
        let mut head = Head::EMPTY;
        while let Some(carried) = self.next()? {
            let Carried::Event(record) = carried else { continue };
            head = log::step(head, &record, None).map_err(|e| self.rejected(e))?;
            if let Err(e) = record.decode() {
                return Err(match e.class() {
                    Class::Rejected => self.rejected(crate::model::causes::with_causes(&e)),
                    _ => e.into(),
                });
            }
        }
        Ok(head)
    }
}

/// Copies input that can be read only once to a private temporary file.
fn kept(from: &mut impl Read) -> Result<File, CliError> {
    let path = std::env::temp_dir().join(format!("koschei-import-{}-{:x}", std::process::id(), rand::random::<u64>()));
    let kept = || -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // The file exists as long as it is open.
        std::fs::remove_file(&path)?;
        io::copy(from, &mut file)?;
        file.rewind()?;
        Ok(file)
    };
    let mut kept = kept;
    kept().map_err(|e| CliError::Unavailable(format!("copy the export to {} (TMPDIR): {e}", path.display())))
}

pub(super) async fn run(args: &ImportArgs) -> Done {
    let mut export = Export::open(&args.from)?;
    let whole = export.check()?;
    export.rewind()?;
    let log = log::open(&args.db.db, &Options { unfinished: true, ..Options::default() }).await?;
    let began_with = log.head().await?;
    let imported = whole_log(&mut export, &log, began_with, whole).await;
    let head = log.head().await;
    log.close().await;
    let missing = imported.inspect_err(|_| {
        if let Ok(head) = head
            && head.seq > began_with.seq
        {
            eprintln!(
                "koschei: the log is unfinished: it holds {} of {} events, and no other command opens it; run the \
                    same import again to continue",
                head.seq.map_or(0, Seq::get),
                whole.seq.map_or(0, Seq::get)
            );
        }
    })?;
    let head = head?;
    let count = head.seq.map_or(0, Seq::get) - began_with.seq.map_or(0, Seq::get);
    writeln!(crate::cli::out::stdout(), "{count} events imported, head {head}")?;
    if missing > 0 {
        eprintln!(
            "koschei: warning: {missing} events name attachments that were not exported; `koschei log verify` will \
                report them"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Appends all events. Marks the log as unfinished until the end.
async fn whole_log(export: &mut Export, log: &log::AnyLog, began_with: Head, whole: Head) -> Result<u64, CliError> {
    let begun = log.info().await?.importing;
    if let Some(before) = begun
        && whole.seq < begun
    {
        return Err(CliError::Rejected(format!(
            "import {}: it ends at event {}, but the import that began this log ends at event {before}; use that \
                export, or remove the log",
            export.path.display(),
            whole.seq.map_or(0, Seq::get)
        )));
    }
    if whole.seq > began_with.seq {
        log.note_import(whole.seq).await.map_err(LogError::from)?;
    }
    let taken = take(export, log, began_with).await;
    let untouched = async || log.head().await.is_ok_and(|head| head == began_with);
    match taken {
        Ok(_) => log.note_import(None).await.map_err(LogError::from)?,
        // The log was not changed, so the mark is removed.
        Err(_) if begun.is_none() && untouched().await => drop(log.note_import(None).await),
        Err(_) => {}
    }
    taken
}

/// Appends the events that the log does not have. Returns how many events name attachments that are
/// missing.
async fn take(export: &mut Export, log: &log::AnyLog, began_with: Head) -> Result<u64, CliError> {
    let (mut head, mut commit, mut missing) = (began_with, Commit::default(), 0);
    loop {
        let carried = export.next()?;
        let over = carried.is_none();
        match carried {
            Some(Carried::Attachment(attachment)) => commit.attachments.push(attachment),
            Some(Carried::Event(record)) if began_with.seq.is_some_and(|end| record.seq <= end) => {
                let here = log.read(Seq::new(record.seq.get() - 1), 1).await?;
                if here.first().is_none_or(|r| r.hash != record.hash) {
                    return Err(export.rejected(format!("event {} differs from that of the log", record.seq)));
                }
            }
            Some(Carried::Event(record)) => {
                if let Some(digest) = attachment_of(&record.decode()?.event) {
                    let there = commit.attachments.iter().any(|a| a.digest == digest);
                    if !there && log.attachment(digest).await?.is_none() {
                        missing += 1;
                    }
                }
                commit.records.push(*record);
            }
            None => {}
        }
        if (over || commit.records.len() >= BATCH) && !commit.records.is_empty() {
            head = log.append(head.seq, &std::mem::take(&mut commit)).await?;
        }
        if over {
            return Ok(missing);
        }
    }
}

/// Returns the attachment that an event names.
pub(super) fn attachment_of(event: &Event) -> Option<&str> {
    match event {
        Event::RepoResolved(r) => Some(&r.attachment),
        Event::BuildrootRecorded(b) => Some(&b.attachment),
        _ => None,
    }
}
