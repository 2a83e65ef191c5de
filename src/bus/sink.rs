//! Sends commands: to standard output, to a file, or to a NATS subject.
//!
//! A command is one line of JSON with an id. The sink does not read anything else in it. A sink
//! reports a command as sent once a crash of ours cannot lose it any more.
//!
//! After a crash, commands are normally sent again. So a file gets each id only once, and a stream
//! keeps each id once within its duplicate window. Standard output cannot be read back: a command
//! may appear there twice after a crash, and its id shows it.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::jetstream::{CommandStream, JetStreamError};
use crate::model::{Class, Classified};

/// Longest line that is read back from a file of commands, in bytes. A command has a few hundred.
const MAX_LINE: u64 = 1 << 20;

/// A command on its way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutgoingCommand {
    /// Id of the command. It is the same if the command is sent again.
    pub id: String,
    /// One line of JSON without line end. Its member `id` is the id.
    pub json: String,
}

/// Result of sending commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Number of commands that were sent now.
    pub new: usize,
    /// Number of commands that had been sent before.
    pub repeated: usize,
}

/// Error: commands were not sent. None of the commands given counts as sent.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file cannot be opened or read.
    #[error("open {} for commands", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another process has the file open.
    #[error("open {} for commands: another process writes to it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else, and is not touched.
    #[error("open {} for commands: line {line} is not a command; name another file, or move this one \
        away", path.display())]
    NotCommands {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },
    /// Writing failed.
    #[error("write commands to {}", path.display())]
    Write {
        /// The file, or `standard output`.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A command has a line end in it.
    #[error("write command {id}: its text is not one line")]
    NotOneLine {
        /// Id of the command.
        id: String,
    },
    /// The stream did not accept the command.
    #[error(transparent)]
    Stream(#[from] JetStreamError),
}

impl Classified for SinkError {
    fn class(&self) -> Class {
        match self {
            Self::Open { .. } | Self::InUse { .. } | Self::NotCommands { .. } => Class::Rejected,
            Self::Write { .. } => Class::Unavailable,
            Self::NotOneLine { .. } => Class::Broken,
            Self::Stream(error) => error.class(),
        }
    }
}

/// Any of the sinks.
#[derive(Debug)]
pub enum CommandSink {
    /// Standard output.
    Stdout,
    /// A file.
    File(FileSink),
    /// A NATS subject.
    Stream(Box<CommandStream>),
}

impl CommandSink {
    /// Opens a sink. `-` is standard output, anything else is a file.
    ///
    /// # Errors
    /// Fails like [`FileSink::open`].
    pub fn open(target: &Path) -> Result<Self, SinkError> {
        if target == Path::new("-") { Ok(Self::Stdout) } else { FileSink::open(target).map(Self::File) }
    }

    /// Sends commands in order. All of them have left when this returns. A file is written and
    /// synchronised on the calling thread: commands are few, and the caller waits for them anyway.
    ///
    /// # Errors
    /// Returns [`SinkError`] if a command could not be sent. Some of the commands may have left.
    /// Sending all of them again is right.
    pub async fn send(&mut self, commands: &[OutgoingCommand]) -> Result<Sent, SinkError> {
        if let Some(bad) = commands.iter().find(|c| c.json.contains(['\n', '\r'])) {
            return Err(SinkError::NotOneLine { id: bad.id.clone() });
        }
        match self {
            Self::Stdout => write_lines(&mut io::stdout().lock(), commands.iter())
                .map(|()| Sent { new: commands.len(), repeated: 0 })
                .map_err(|source| SinkError::Write { path: "standard output".into(), source }),
            Self::File(file) => file.send(commands),
            Self::Stream(stream) => {
                stream.ready().await?;
                let mut sent = Sent::default();
                for command in commands {
                    let new = stream.publish(&command.id, &command.json).await?;
                    sent.new += usize::from(new);
                    sent.repeated += usize::from(!new);
                }
                Ok(sent)
            }
        }
    }
}

fn write_lines<'a>(out: &mut impl Write, commands: impl Iterator<Item = &'a OutgoingCommand>) -> io::Result<()> {
    let mut text = String::new();
    for command in commands {
        text.push_str(&command.json);
        text.push('\n');
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A file of commands, one per line. It is opened for appending and locked against a second writer.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    file: File,
    /// Length up to the end of the last complete command.
    length: u64,
    sent: HashSet<String>,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

impl FileSink {
    /// Opens or makes a file and reads the ids in it. A last line that a crash cut short is
    /// removed: its command was never reported as sent and will be sent again.
    ///
    /// Cost: reads the file once. Memory: the ids.
    ///
    /// # Errors
    /// Returns [`SinkError`] (rejected) if the file cannot be opened, is locked by another process,
    /// or holds something other than commands.
    pub fn open(path: &Path) -> Result<Self, SinkError> {
        let failed = |source| SinkError::Open { path: path.to_owned(), source };
        let is_new = !path.try_exists().map_err(failed)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => (),
            Err(std::fs::TryLockError::WouldBlock) => return Err(SinkError::InUse { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        if is_new && let Some(parent) = path.canonicalize().map_err(failed)?.parent() {
            // The file's name must survive a power failure like its content.
            File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)?;
        }
        let mut sink = Self { path: path.to_owned(), file, length: 0, sent: HashSet::new() };
        sink.read_back()?;
        Ok(sink)
    }

    fn read_back(&mut self) -> Result<(), SinkError> {
        let failed = |source| SinkError::Open { path: self.path.clone(), source };
        let mut lines = BufReader::new(&self.file);
        lines.seek(SeekFrom::Start(0)).map_err(failed)?;
        let (mut line, mut length) = (Vec::new(), 0);
        let mut complete = false;
        for number in 1.. {
            line.clear();
            let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)?;
            if read == 0 {
                break;
            }
            let whole = line.ends_with(b"\n");
            match serde_json::from_slice::<Identified>(&line) {
                Ok(command) => {
                    self.sent.insert(command.id);
                    complete = !whole;
                }
                Err(_) if whole && line.trim_ascii().is_empty() => (),
                // A crash cut this line short. If the file has no command yet, remove the line only
                // if it begins like a command.
                Err(_)
                    if !whole
                        && line.len() as u64 != MAX_LINE
                        && (!self.sent.is_empty() || line.starts_with(b"{\"") || line == b"{") =>
                {
                    break;
                }
                Err(_) => return Err(SinkError::NotCommands { path: self.path.clone(), line: number }),
            }
            length += read as u64;
        }
        self.length = length;
        self.file.set_len(length).map_err(failed)?;
        if complete {
            // The line is complete except for its line end.
            (&self.file).write_all(b"\n").map_err(failed)?;
            self.length += 1;
        }
        self.file.sync_all().map_err(failed)
    }

    /// Opens a new file if ours was moved or deleted, for example by log rotation. Nobody would
    /// find commands written to the old file. Ids that were written there are still known.
    fn follow_path(&mut self) -> Result<(), SinkError> {
        use std::os::unix::fs::MetadataExt as _;
        let at = |m: std::fs::Metadata| (m.dev(), m.ino());
        let failed = |source| SinkError::Write { path: self.path.clone(), source };
        let ours = at(self.file.metadata().map_err(failed)?);
        match std::fs::metadata(&self.path).map(at) {
            Ok(there) if there == ours => return Ok(()),
            Ok(_) => (),
            Err(e) if e.kind() == io::ErrorKind::NotFound => (),
            Err(e) => return Err(failed(e)),
        }
        tracing::warn!(path = %self.path.display(), "the file of commands was moved or deleted; a new one is created \
            in its place");
        let mut other = Self::open(&self.path)?;
        other.sent.extend(self.sent.drain());
        *self = other;
        Ok(())
    }

    /// Appends the commands that are not in the file yet, and synchronises the file.
    fn send(&mut self, commands: &[OutgoingCommand]) -> Result<Sent, SinkError> {
        self.follow_path()?;
        let mut ids = HashSet::new();
        let new: Vec<_> = commands.iter().filter(|c| !self.sent.contains(&c.id) && ids.insert(c.id.as_str())).collect();
        let mut text = Vec::new();
        let written = write_lines(&mut text, new.iter().copied())
            .and_then(|()| self.file.write_all(&text))
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // A partial line must not stay before the next command. If truncating fails too, the
            // next opening removes it.
            drop(self.file.set_len(self.length));
            return Err(SinkError::Write { path: self.path.clone(), source });
        }
        self.length += text.len() as u64;
        self.sent.extend(new.iter().map(|c| c.id.clone()));
        Ok(Sent { new: new.len(), repeated: commands.len() - new.len() })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn command(id: &str) -> OutgoingCommand {
        OutgoingCommand {
            id: id.to_owned(),
            json: format!("{{\"specversion\":1,\"id\":\"{id}\",\"kind\":\"rebuild\"}}"),
        }
    }

    fn commands(ids: &[&str]) -> Vec<OutgoingCommand> {
        ids.iter().map(|id| command(id)).collect()
    }

    fn lines(ids: &[&str]) -> String {
        ids.iter().map(|id| command(id).json + "\n").collect()
    }

    #[tokio::test]
    async fn a_command_stands_once_in_a_file_however_often_it_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commands.jsonl");
        let mut sink = CommandSink::open(&path).unwrap();
        assert_eq!(sink.send(&commands(&["a", "b", "a"])).await.unwrap(), Sent { new: 2, repeated: 1 });
        assert_eq!(sink.send(&commands(&["b", "c"])).await.unwrap(), Sent { new: 1, repeated: 1 });
        drop(sink);
        let mut sink = CommandSink::open(&path).unwrap();
        assert_eq!(sink.send(&commands(&["a", "b", "c", "d"])).await.unwrap(), Sent { new: 1, repeated: 3 });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(&["a", "b", "c", "d"]));
    }

    /// A crash can cut the last line anywhere.
    #[tokio::test]
    async fn a_cut_line_is_taken_away_and_its_command_can_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commands.jsonl");
        let whole = lines(&["a", "b"]);
        let first = lines(&["a"]).len();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole.as_bytes()[..cut]).unwrap();
            let mut sink = CommandSink::open(&path).unwrap();
            let sent = sink.send(&commands(&["a", "b"])).await.unwrap();
            let left = usize::from(cut + 1 >= first) + usize::from(cut + 1 >= whole.len());
            assert_eq!(sent, Sent { new: 2 - left, repeated: left }, "cut at {cut}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    /// Moves the file like logrotate.
    #[tokio::test]
    async fn commands_go_where_somebody_looks_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("commands.jsonl"), dir.path().join("commands.jsonl.1"));
        let mut sink = CommandSink::open(&path).unwrap();
        sink.send(&commands(&["a"])).await.unwrap();
        std::fs::rename(&path, &rotated).unwrap();
        assert_eq!(sink.send(&commands(&["a", "b"])).await.unwrap(), Sent { new: 1, repeated: 1 });
        assert_eq!(std::fs::read_to_string(&rotated).unwrap(), lines(&["a"]));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(&["b"]));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(sink.send(&commands(&["c"])).await.unwrap(), Sent { new: 1, repeated: 0 });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(&["c"]));
    }

    #[rstest]
    #[case::text("root:x:0:0\n", 1)]
    #[case::no_line_end("hello", 1)]
    #[case::no_id("{\"id\":\"a\"}\n{\"kind\":\"rebuild\"}\n", 2)]
    fn files_of_others_are_left_alone(#[case] content: &str, #[case] at: u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other");
        std::fs::write(&path, content).unwrap();
        let error = FileSink::open(&path).unwrap_err();
        assert!(matches!(&error, SinkError::NotCommands { line, .. } if *line == at), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }

    #[test]
    fn there_is_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commands.jsonl");
        let first = FileSink::open(&path).unwrap();
        assert!(matches!(FileSink::open(&path), Err(SinkError::InUse { .. })));
        drop(first);
        FileSink::open(&path).unwrap();
        let error = FileSink::open(&dir.path().join("none/commands.jsonl")).unwrap_err();
        assert_eq!(error.class(), Class::Rejected);
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut sink = FileSink { path: "/dev/full".into(), file, length: 0, sent: HashSet::new() };
        let error = sink.send(&commands(&["a"])).unwrap_err();
        assert_eq!(error.class(), Class::Unavailable);
        assert!(sink.sent.is_empty());
        let two_lines = OutgoingCommand { id: "x".to_owned(), json: "{\n}".to_owned() };
        let error = CommandSink::Stdout.send(&[two_lines]).await.unwrap_err();
        assert_eq!(error.class(), Class::Broken);
    }
}
