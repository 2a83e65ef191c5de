//! `koschei announcements`.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::open::reading;
use super::{CliError, DbArgs, Done};
use crate::announce::sentence::sentence;
use crate::announce::teller::Place;
use crate::announce::{Said, Saying, TOPICS, Teller, Telling};
use crate::config::AnnounceConfig;
use crate::event::ChainHash;
use crate::log::{Announcements as _, AnyLog, EventLog, LogError, PAGE_MAX, folding};
use crate::model::nearest::did_you_mean;
use crate::model::{Seq, Timestamp};
use crate::view::text::{clock, one_line};

/// Longest sentence that is shown, in characters.
const LINE_MAX: usize = 200;

/// Show what subscribers are told of the events of a log.
///
/// It tells again what `serve` would have told, had it announced from the first event on. Nothing is
/// sent. Try another time to hold changes back before you configure it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei announcements --db demo/koschei.db --topic koschei.cause\n  koschei \
                        announcements --hold-back 0 --json\n  koschei announcements --set-aside")]
pub(crate) struct AnnouncementsArgs {
    #[command(flatten)]
    db: DbArgs,
    /// How long a state must stand before it is told, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = AnnounceConfig::default().hold_back_secs)]
    hold_back: u32,
    /// Show only this topic, or those that begin with it
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Show those that no broker takes and that were set aside, and why
    #[arg(long, conflicts_with = "hold_back")]
    set_aside: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// One line of output.
struct Line<'a> {
    seq: Seq,
    at: Timestamp,
    subject: &'a str,
    topic: &'a str,
    body: &'a str,
    reason: Option<&'a str>,
}

pub(super) async fn run(args: &AnnouncementsArgs) -> Done {
    if let Some(topic) = &args.topic
        && !TOPICS.iter().any(|known| known.starts_with(topic.as_str()))
    {
        let hint = did_you_mean(topic, TOPICS);
        return Err(CliError::Rejected(format!("use the topic `{topic}`, because none begins so{hint}")));
    }
    let log = reading(&args.db.db).await?;
    let mut out = crate::cli::out::stdout().lock();
    if args.set_aside {
        let mut all = log.set_aside(PAGE_MAX).await.map_err(LogError::from)?;
        all.retain(|(a, _)| args.is_wanted(&a.topic));
        for (a, reason) in &all {
            let reason = Some(reason.as_str());
            let line = Line { seq: a.seq, at: a.made_at, subject: &a.subject, topic: &a.topic, body: &a.body, reason };
            args.print(&line, &mut out)?;
        }
        if all.is_empty() && !args.json {
            writeln!(out, "No announcement was set aside.")?;
        }
    } else {
        let mut said = told(&log, i64::from(args.hold_back)).await?;
        said.retain(|saying| args.is_wanted(saying.message.topic));
        for Saying { seq, at, subject, message, .. } in &said {
            let line = Line { seq: *seq, at: *at, subject, topic: message.topic, body: &message.body, reason: None };
            args.print(&line, &mut out)?;
        }
        if said.is_empty() && !args.json {
            writeln!(out, "Nothing would have been told.")?;
        }
    }
    log.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Tells the events of a log, in the order in which they would have been told.
async fn told(log: &AnyLog, hold_back: i64) -> Result<Vec<Saying>, CliError> {
    let bar = match (std::io::stderr().is_terminal(), log.head().await.map_err(LogError::from)?.seq) {
        (true, Some(head)) => ProgressBar::new(head.get()),
        _ => ProgressBar::hidden(),
    };
    let telling = Telling { theirs: true, richer: true, hold_back, site: None };
    let mut teller = Teller::new(telling, Said::default(), BTreeMap::new());
    let mut all = Vec::new();
    let mut hear = |state: &crate::fold::State, e: &crate::event::Envelope| {
        // Ids of messages are not shown, so nobody looks at the hash.
        let (hash, subject) = (ChainHash([0; 32]), e.event.subject());
        teller.hear(Place { seq: e.seq, hash, at: e.recorded_at, subject: &subject }, &e.event, state);
        all.append(&mut teller.take().sayings);
    };
    folding::fold(log, None, &mut |seq| bar.set_position(seq.get()), &mut hear).await?;
    bar.finish_and_clear();
    Ok(all)
}

impl AnnouncementsArgs {
    fn is_wanted(&self, topic: &str) -> bool {
        self.topic.as_deref().is_none_or(|wanted| topic.starts_with(wanted))
    }

    fn print(&self, line: &Line<'_>, out: &mut impl Write) -> Result<(), CliError> {
        let Line { seq, at, subject, topic, body, reason } = line;
        if self.json {
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            let mut value = json!({"event": seq, "at": at, "subject": subject, "topic": topic, "body": body});
            if let Some(reason) = reason {
                value["reason"] = (*reason).into();
            }
            writeln!(out, "{value}")?;
            return Ok(());
        }
        let why = reason.map(|reason| format!(" [{}]", one_line(reason, LINE_MAX))).unwrap_or_default();
        writeln!(out, "{}  {topic:<32}  {}{why}", clock(*at), one_line(&sentence(topic, body), LINE_MAX))?;
        Ok(())
    }
}
