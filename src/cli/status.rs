//! `koschei status`.

mod table;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::as_of::AsOf;
use super::in_order::in_order;
use super::open::{known_collection, reading, state_as_of};
use super::{CliError, DbArgs, Done};
use crate::decide::Policy;
use crate::fold::{Collection, Group, Package, State};
use crate::log::EventLog;
use crate::model::{Name, PackageState, Timestamp};
use crate::operator::groups;
use crate::view::package::{self as package_view, CollectionView, PackageView, Report};

/// Show every package: its state and since when, why, its priority and last builds.
///
/// The table is as wide as the terminal, or as COLUMNS says; --json prints everything. Priorities
/// are those of the point in the log that is shown.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei status --db koschei.db --collection f99-build --state failing,unresolved")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Show only this collection
    #[arg(long, value_name = "C")]
    collection: Option<String>,
    /// Show only packages of this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Show only packages in these states: ok, failing, unresolved, unknown, untracked, blocked
    #[arg(long, value_name = "STATE,…", value_delimiter = ',')]
    state: Vec<String>,
    /// Point in the log to show: an event (466), a time of recording ("2026-11-20 08:45"), the end
    /// of a day (2026-11-20) or a span ("1 hour ago"); default: the end of the log
    #[arg(long, value_name = "SEQ|TIME")]
    as_of: Option<AsOf>,
    /// List also packages known only from a repository; by default they are only counted
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A package to show.
#[derive(Clone, Copy)]
struct Entry<'a> {
    collection: (&'a Name, &'a Collection),
    package: (&'a Name, &'a Package),
    state: PackageState,
}

/// What is shown of a package follows from these.
struct Of<'a> {
    state: &'a State,
    now: Timestamp,
    policy: Policy,
}

impl Of<'_> {
    fn view(&self, e: &Entry<'_>) -> PackageView {
        package_view::package(self.state, e.collection, e.package, self.now, &self.policy)
    }
}

pub(super) async fn run(args: &StatusArgs) -> Done {
    let words = package_view::STATES.map(|s| s.as_str());
    if let Some(bad) = args.state.iter().find(|s| !words.contains(&s.as_str())) {
        return Err(CliError::Rejected(format!("show packages in state `{bad}`: the states are {}", words.join(", "))));
    }
    let log = reading(&args.db.db).await?;
    let (state, now) = state_as_of(&log, args.as_of).await?;
    if let Some(wanted) = &args.collection {
        known_collection(&state, wanted)?;
    }
    let group = match &args.group {
        Some(name) => {
            Some(groups::find(&state, name).map_err(|why| CliError::Rejected(format!("show a group: {why}")))?)
        }
        None => None,
    };
    let of = Of { state: &state, now, policy: Policy::in_force(&state) };
    let shown: Vec<_> = state
        .collections
        .iter()
        .filter(|(n, _)| args.collection.as_deref().is_none_or(|w| w == n.as_str()))
        .map(|c| (package_view::collection(&state, c, package_view::counts(c.1)), entries(c, &args.state, group)))
        .collect();
    log.close().await;
    if args.json {
        json(&of, shown, &mut crate::cli::out::stdout().lock())?;
    } else {
        // A caller that asks for a state or a group wants to see its packages.
        let all = args.all || !args.state.is_empty() || group.is_some();
        table::people(&of, &shown, all, &mut crate::cli::out::stdout().lock())?;
    }
    // The process ends now. Taking a large state apart takes a tenth of a second, and helps nobody.
    std::mem::forget(state);
    Ok(ExitCode::SUCCESS)
}

/// Returns the packages of a collection that are in one of these states, or all, and in the group, in
/// the order in which they are shown.
fn entries<'a>((name, c): (&'a Name, &'a Collection), states: &[String], group: Option<&Group>) -> Vec<Entry<'a>> {
    let entry = |package: (&'a Name, &'a Package)| Entry {
        collection: (name, c),
        package,
        state: package.1.state(c.settings.track_all),
    };
    let wanted = |e: &Entry<'_>| {
        group.is_none_or(|g| g.packages.contains(e.package.0))
            && (states.is_empty() || states.iter().any(|s| s == e.state.as_str()))
    };
    let mut entries: Vec<_> = c.packages.iter().map(entry).filter(wanted).collect();
    entries.sort_by(|a, b| (package_view::rank(a.state), a.package.0).cmp(&(package_view::rank(b.state), b.package.0)));
    entries
}

/// Writes a [`Report`]. The packages are written in pieces, on all processors, because they may be
/// hundreds of megabytes.
fn json(of: &Of<'_>, shown: Vec<(CollectionView, Vec<Entry<'_>>)>, out: &mut impl Write) -> Result<(), CliError> {
    let (collections, entries): (Vec<_>, Vec<_>) = shown.into_iter().unzip();
    let report = Report { collections, ..Report::of(of.state, of.now) };
    let report = serde_json::to_string(&report).expect("a report is valid JSON");
    // The list of packages is its last field.
    let (begin, end) = report.split_at(report.len() - "]}".len());
    out.write_all(begin.as_bytes())?;
    let piece = |entries: &[Entry<'_>]| {
        let mut piece = Vec::new();
        for e in entries {
            piece.push(b',');
            serde_json::to_writer(&mut piece, &of.view(e)).expect("a package is valid JSON");
        }
        piece
    };
    let mut is_first = true;
    in_order(&entries.concat(), piece, |piece| {
        let separated = usize::from(std::mem::take(&mut is_first));
        out.write_all(&piece[separated..])
    })?;
    writeln!(out, "{end}")?;
    Ok(())
}
