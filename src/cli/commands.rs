//! `koschei commands`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::open::{existing, state_as_of};
use super::out::colours;
use super::render::Table;
use super::{DbArgs, Done};
use crate::bus::CommandSink;
use crate::decide::command::{CancelCommand, RebuildCommand};
use crate::event::PriorityParts;
use crate::intake::delivery;
use crate::log::EventLog;
use crate::telemetry::Metrics;
use crate::view::text::{clock, points};
use crate::writer::pauses::Pauses;

/// Deliver the rebuild commands that wait in the outbox.
///
/// Each command is a line of JSON. A delivered command is marked and is not delivered again.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  koschei commands --db koschei.db --to commands.jsonl\n  koschei commands --table --last \
        20"
)]
pub(crate) struct CommandsArgs {
    #[command(flatten)]
    db: DbArgs,
    /// File to deliver to, or - for standard output
    #[arg(long, value_name = "DEST", default_value = "-")]
    to: PathBuf,
    /// Print the commands, but leave them in the outbox
    #[arg(long)]
    peek: bool,
    /// Print the commands as a table, and leave them in the outbox
    #[arg(long, conflicts_with = "peek")]
    table: bool,
    /// Print only the newest N commands
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

pub(super) async fn run(args: &CommandsArgs) -> Done {
    let log = existing(&args.db.db).await?;
    if args.peek || args.table {
        let waiting = log.pending_commands(crate::log::PAGE_MAX).await?;
        let shown = &waiting[waiting.len().saturating_sub(args.last.unwrap_or(usize::MAX))..];
        let mut out = crate::cli::out::stdout().lock();
        if args.table {
            write!(out, "{}", table(shown.iter().map(|c| c.payload.as_str())))?;
            writeln!(out, "{} of {} waiting commands", shown.len(), waiting.len())?;
        } else {
            shown.iter().try_for_each(|c| writeln!(out, "{}", c.payload))?;
        }
    } else {
        let mut sink = CommandSink::open(&args.to).map_err(crate::intake::IntakeError::from)?;
        let (state, _) = state_as_of(&log, None).await?;
        let pauses = Pauses::said(&log, &state).await?;
        let n = delivery::deliver(&log, &pauses, &mut sink, &Metrics::new()).await?;
        eprintln!("{n} commands delivered");
        match log.counts().await?.outbox_pending {
            0 => {}
            held => eprintln!(
                "{held} commands stay in the outbox, because submissions are paused; to resume: koschei admin resume"
            ),
        }
    }
    log.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Formats commands as a table. A row names the event that decided the command, because the id of a
/// command is too long for a line.
fn table<'a>(commands: impl Iterator<Item = &'a str>) -> String {
    let mut table =
        Table::new(&["event", "decided", "collection", "build", "target", "repository", "on", "points", "because"]);
    for payload in commands {
        if let Ok(c) = serde_json::from_str::<RebuildCommand>(payload) {
            table.row(
                None,
                vec![
                    c.cause.sequence.to_string(),
                    clock(c.decided_at),
                    c.collection.to_string(),
                    c.nvr,
                    c.target.to_string(),
                    c.repo_id.map_or_else(String::new, |r| r.to_string()),
                    if c.arches.is_empty() { "all".to_owned() } else { c.arches.join(" ") },
                    points(c.priority.current),
                    because(&c.priority),
                ],
            );
        } else if let Ok(c) = serde_json::from_str::<CancelCommand>(payload) {
            let what = format!("cancel task {} of {}", c.task_id, c.package);
            let mut row = vec![c.cause.sequence.to_string(), clock(c.decided_at), c.collection.to_string(), what];
            row.resize(8, String::new());
            row.push(c.reason);
            table.row(None, row);
        }
    }
    table.render(colours(), 0)
}

/// Describes the positive parts of a priority, largest first.
fn because(p: &PriorityParts) -> String {
    let mut parts = vec![
        (p.manual, "asked for by a person"),
        (p.dependency, "dependencies changed"),
        (p.build, "never built here, or began to fail"),
        (p.r#static, "static priority"),
        (p.time, "time since its last build"),
    ];
    parts.retain(|(points, _)| *points > 0);
    parts.sort_by_key(|(points, _)| std::cmp::Reverse(*points));
    parts.iter().map(|(_, words)| *words).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_part_comes_first() {
        let parts = PriorityParts { build: 200_000, dependency: 300_000, time: -30_000, ..PriorityParts::default() };
        assert_eq!(because(&parts), "dependencies changed; never built here, or began to fail");
    }

    #[test]
    fn each_command_is_a_row() {
        let rebuild = r#"{"id":"LOG:7:HASH","command":"rebuild","version":1,"collection":"f99","package":"curl",
            "nvr":"curl-8-1","hub":"primary","source":"x","target":"f99","repo_id":26,"task_priority":30,
            "priority":{"dependency":576000,"current":546000},"decided_at":1795164673554174,"cause":{"sequence":7}}"#;
        let cancel = r#"{"id":"LOG:9:HASH","command":"cancel","version":1,"collection":"f99","package":"curl",
            "hub":"primary","task_id":12,"reason":"timed out","decided_at":1795164673554174,"cause":{"sequence":9}}"#;
        let text = table([rebuild, cancel].into_iter());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with("7 ") && lines[1].contains("546.0") && lines[1].ends_with("dependencies changed"));
        assert!(lines[2].contains("cancel task 12 of curl") && lines[2].ends_with("timed out"), "{text}");
    }
}
