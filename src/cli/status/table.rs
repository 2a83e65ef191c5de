//! The table of packages for people.

use std::io::Write;

use super::{Entry, Of};
use crate::cli::in_order::in_order;
use crate::cli::out::colours;
use crate::cli::render::{Table, line_width, style};
use crate::model::{PackageState, Seq};
use crate::view::package::{self as package_view, CollectionView};
use crate::view::text::{minute, one_line, points};

/// Largest table that says for every row since when its state is what it is. A longer one says it
/// only for broken packages.
const SINCE_ROWS: usize = 500;
/// Width of the column "why" if the width of the terminal is unknown, in characters.
const WHY_CHARS: usize = 90;

/// Checks whether a package is counted but not listed.
fn is_counted(e: &Entry<'_>, all: bool) -> bool {
    !all && e.package.1.is_from_repository_only() && e.state == PackageState::Unknown
}

pub(super) fn people(
    of: &Of<'_>,
    shown: &[(CollectionView, Vec<Entry<'_>>)],
    all: bool,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let rows_of_all = shown.iter().flat_map(|(_, entries)| entries).filter(|e| !is_counted(e, all)).count();
    for (c, entries) in shown {
        about(c, out)?;
        rows(of, entries, (all, rows_of_all <= SINCE_ROWS), out)?;
        writeln!(out)?;
    }
    writeln!(out, "as of event {}, {}", of.state.seq.map_or(0, Seq::get), of.now)
}

/// Writes what is said of a collection.
fn about(c: &CollectionView, out: &mut impl Write) -> std::io::Result<()> {
    let resolved: Vec<String> = c.resolved.iter().map(|(a, r)| format!("{a} {r}")).collect();
    writeln!(
        out,
        "{}  buildroot {}, {} packages, {} running, repository resolved: {}",
        c.collection,
        c.buildroot,
        c.packages,
        c.running,
        if resolved.is_empty() { "none".to_owned() } else { resolved.join(", ") }
    )?;
    if let Some(on) = &c.builds_on {
        writeln!(out, "  built on hub {}, target {}", on.hub, on.target)?;
    }
    for stopped in &c.stopped {
        writeln!(out, "  nothing is rebuilt: {}", one_line(stopped, 400))?;
    }
    if let Some(unbound) = &c.unbound {
        writeln!(out, "  {}", one_line(unbound, 400))?;
    }
    if let Some(stale) = &c.stale {
        let which = if resolved.is_empty() { "the newest" } else { "verdicts are of the one above; the newest" };
        writeln!(out, "  {which} could not be resolved: {}", one_line(stale, 160))?;
    }
    Ok(())
}

/// Writes the packages of a collection.
fn rows(of: &Of<'_>, entries: &[Entry<'_>], (all, few): (bool, bool), out: &mut impl Write) -> std::io::Result<()> {
    let (colours, width) = (colours(), line_width());
    let why_chars = width.map_or(WHY_CHARS, |w| w.max(WHY_CHARS));
    let listed: Vec<&Entry<'_>> = entries.iter().filter(|e| !is_counted(e, all)).collect();
    let mut table = Table::new(&["package", "state", "since", "priority", "last build", "changed since", "why"]);
    let cells = |e: &&Entry<'_>| {
        let p = of.view(e);
        let broken = matches!(e.state, PackageState::Failing | PackageState::Unresolved);
        let since = e.package.1.announced.filter(|_| few || broken);
        let cells = vec![
            p.latest.clone().unwrap_or_else(|| p.package.to_string()),
            p.state.to_string(),
            since.map_or_else(String::new, |a| minute(a.at)),
            p.priority.map_or_else(|| "-".to_owned(), |x| points(x.current)),
            p.last_build().map_or_else(String::new, |b| format!("{} {}", b.kind, b.result())),
            package_view::closest_change(&p),
            one_line(&p.reasons(), why_chars),
        ];
        (p.state, cells)
    };
    let piece = |listed: &[&Entry<'_>]| listed.iter().map(cells).collect::<Vec<_>>();
    in_order(&listed, piece, |piece| {
        piece.into_iter().for_each(|(state, cells)| table.row(Some(style(state)), cells));
        Ok::<_, std::io::Error>(())
    })?;
    if let Some(width) = width {
        let squeeze = [("why", 40), ("changed since", 20), ("why", 16), ("package", 24)];
        table.fit(width.saturating_sub(2), &squeeze, &["changed since", "priority", "last build", "since", "why"]);
    }
    for line in table.render(colours, 1).lines() {
        writeln!(out, "  {line}")?;
    }
    if let Some(first) = entries.iter().find(|e| is_counted(e, all)) {
        let (count, first) = (entries.len() - listed.len(), of.view(first));
        let why = first.remarks.last().map_or("", String::as_str);
        writeln!(out, "  and {count} known only from a repository (--all lists them): {why}")?;
    }
    Ok(())
}
