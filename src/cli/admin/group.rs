//! `koschei admin group`: makes, changes and deletes a group of packages.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::known;
use super::word::Telling;
use crate::base::clock;
use crate::cli::open::{existing, state_as_of};
use crate::cli::{CliError, Done};
use crate::config::group::{PACKAGES_FILE_BYTES_MAX, names};
use crate::event::{Event, GroupDeleted, GroupMade, check_group_name, check_group_package};
use crate::fold::{Group, State};
use crate::log::{AnyLog, EventLog};
use crate::model::nearest::did_you_mean;
use crate::model::{Name, PersonId};
use crate::operator::{Checked, Maintainers, Word, groups};

/// Make, change or delete a group of packages.
///
/// A group has source packages of all collections, by name, and maintainers. It is made by its first
/// packages. Groups of the configuration are set to what it says at each start.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  koschei admin group net --add curl zlib --maintainer alice --reason 'of the network \
        team' --db koschei.db"
)]
pub(crate) struct GroupArgs {
    /// Name of the group: letters, digits and `.+_-`
    name: String,
    /// Add packages
    #[arg(long, value_name = "PACKAGE", num_args = 1..)]
    add: Vec<String>,
    /// Remove packages
    #[arg(long, value_name = "PACKAGE", num_args = 1..)]
    remove: Vec<String>,
    /// Make these its only packages
    #[arg(long, value_name = "PACKAGE", num_args = 1.., conflicts_with_all = ["add", "remove", "from"])]
    set: Vec<String>,
    /// Make the packages named in a file its only ones: one a line, # begins a comment, - is the
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["add", "remove"])]
    from: Option<String>,
    /// Add maintainers; the log keeps stand-ins that can be forgotten
    #[arg(long, value_name = "PERSON", num_args = 1..)]
    maintainer: Vec<String>,
    /// Remove maintainers, by name or stand-in (p-…)
    #[arg(long, value_name = "PERSON", num_args = 1..)]
    not_maintainer: Vec<String>,
    /// Delete the group
    #[arg(long, conflicts_with_all = ["add", "remove", "set", "from", "maintainer", "not_maintainer"])]
    delete: bool,
    /// Reason, kept in the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    telling: Telling,
}

/// Refuses a wish about a group.
fn refused(args: &GroupArgs, why: impl std::fmt::Display) -> CliError {
    CliError::Rejected(format!("change group `{}`: {why}", args.name.escape_debug()))
}

/// Checks the word against the log, puts it into the inbox, and waits until it is taken.
pub(super) async fn run(args: &GroupArgs) -> Done {
    let log = existing(&args.telling.saying.db.db).await?;
    let said = say(args, &log).await;
    log.close().await;
    said
}

async fn say(args: &GroupArgs, log: &AnyLog) -> Done {
    let (state, _) = state_as_of(log, None).await?;
    let persons = log.all_persons().await?;
    let Some((event, maintainers)) = wanted(args, &state, &persons)? else {
        let mut out = crate::cli::out::stdout();
        match args.telling.saying.json {
            true => writeln!(out, "{}", serde_json::json!({ "said": 0, "taken": true }))?,
            false => writeln!(out, "nothing changes: the group `{}` is already so", args.name)?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    let configured = state.groups.get(args.name.as_str()).is_some_and(|g| g.configured);
    let word = Word { maintainers, ..Word::new(event, args.telling.saying.by.clone()) };
    let checked = Checked::words(&state, std::slice::from_ref(&word), clock::now())?;
    if !args.telling.force {
        known::check(&state, &word.event)?;
    }
    let done = async || {
        Ok(match configured {
            true => {
                "done; the configuration names this group: if it still does, the next start sets it again".to_owned()
            }
            false => "done".to_owned(),
        })
    };
    args.telling.saying.put(log, &checked, done).await
}

/// Returns what to say, and whom it names. `None` if the group is so already.
fn wanted(
    args: &GroupArgs,
    state: &State,
    persons: &[(PersonId, String)],
) -> Result<Option<(Event, Maintainers)>, CliError> {
    check_group_name(&args.name).map_err(|why| refused(args, why))?;
    let (name, reason) = (Name::from(args.name.as_str()), args.reason.clone());
    if args.delete {
        return Ok(Some((GroupDeleted { group: name, reason, by: None }.into(), Maintainers::default())));
    }
    let named = Maintainers { add: args.maintainer.clone(), remove: args.not_maintainer.clone() };
    named.check().map_err(|why| refused(args, why))?;
    let known = state.groups.get(&name);
    let packages_named = !(args.add.is_empty() && args.set.is_empty()) || args.from.is_some();
    if !packages_named && args.remove.is_empty() && named.is_empty() {
        return Err(refused(args, "no option says what to change; see `koschei admin group --help`"));
    }
    if let (false, Err(missing)) = (packages_named, groups::find(state, &name)) {
        let dot = if missing.ends_with('?') { "" } else { "." };
        return Err(refused(args, format!("{missing}{dot} A new one needs packages: --add, --set or --from")));
    }
    let packages = packages(args, known)?;
    let Some(group) = known else {
        let packages = packages.unwrap_or_default().into_iter().collect();
        let made = GroupMade { group: name, packages, maintainers: Vec::new(), configured: false, reason, by: None };
        return Ok(Some((made.into(), named)));
    };
    let packages = packages.as_ref().unwrap_or(&group.packages);
    let mut change = group.change_to(&name, packages, &group.maintainers);
    change.reason = reason;
    let named = changes(args, group, named, persons)?;
    Ok((!change.is_empty() || !named.is_empty()).then(|| (change.into(), named)))
}

/// Returns the packages that the group is to have. `None` if no option says any.
fn packages(args: &GroupArgs, known: Option<&Group>) -> Result<Option<BTreeSet<Name>>, CliError> {
    let checked = |names: &[String]| -> Result<BTreeSet<Name>, CliError> {
        let one =
            |name: &String| check_group_package(name).map(|()| Name::from(name)).map_err(|why| refused(args, why));
        names.iter().map(one).collect()
    };
    if let Some(from) = &args.from {
        return Ok(Some(listed(from).map_err(|why| refused(args, why))?.iter().map(Name::from).collect()));
    }
    if !args.set.is_empty() {
        return checked(&args.set).map(Some);
    }
    let (add, remove) = (checked(&args.add)?, checked(&args.remove)?);
    if add.is_empty() && remove.is_empty() {
        return Ok(None);
    }
    if let Some(both) = add.intersection(&remove).next() {
        return Err(refused(args, format!("`{both}` is in both --add and --remove")));
    }
    let mut packages = known.map(|g| g.packages.clone()).unwrap_or_default();
    for name in &remove {
        if !packages.remove(name) {
            let near = did_you_mean(name, packages.iter().map(Name::as_str));
            return Err(refused(args, format!("`{name}` is not in it{near}")));
        }
    }
    packages.extend(add);
    Ok(Some(packages))
}

/// Reads names of packages from a file.
fn listed(from: &str) -> Result<Vec<String>, String> {
    let mut text = String::new();
    let most = PACKAGES_FILE_BYTES_MAX + 1;
    let read = match from {
        "-" => std::io::stdin().take(most).read_to_string(&mut text),
        path => std::fs::File::open(Path::new(path)).and_then(|file| file.take(most).read_to_string(&mut text)),
    };
    read.map_err(|e| format!("read `{}`: {e}", from.escape_debug()))?;
    names(&text).map_err(|why| format!("read `{}`: {why}", from.escape_debug()))
}

/// Leaves out maintainers who change nothing. Refuses to remove somebody who is none.
fn changes(
    args: &GroupArgs,
    group: &Group,
    named: Maintainers,
    persons: &[(PersonId, String)],
) -> Result<Maintainers, CliError> {
    let names: Vec<&str> =
        persons.iter().filter(|(id, _)| group.maintainers.contains(id)).map(|(_, name)| name.as_str()).collect();
    let is_one = |name: &str| names.contains(&name) || group.maintainers.contains(&PersonId::new(name));
    if let Some(none) = named.remove.iter().find(|name| !is_one(name)) {
        let near = did_you_mean(none, names.iter().copied());
        return Err(refused(args, format!("`{}` is no maintainer of it{near}", none.escape_debug())));
    }
    Ok(Maintainers { add: named.add.into_iter().filter(|name| !names.contains(&name.as_str())).collect(), ..named })
}
