//! `koschei admin …`: puts operator commands into the inbox of a log. A running `serve` takes them
//! within a second; otherwise the next process that works on the log does.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::known;
use crate::base::clock;
use crate::cli::as_of::AsOf;
use crate::cli::open::{existing, state_as_of};
use crate::cli::saying::Saying;
use crate::cli::{CliError, Done, yes_no};
use crate::event::operator::SRPM_ROOT;
use crate::event::{
    BuildsOn, CollectionCreated, CollectionEdited, CollectionSettings, Event, PackageArchOverrideSet, PackageHoldSet,
    PackagePrioritySet, PackageSkipResolutionSet, PackageTracked, PackageUntracked, PriorityKind,
    RebuildCancelRequested, SubmissionsPaused, SubmissionsResumed,
};
use crate::log::{AnyLog, EventLog};
use crate::model::nearest::did_you_mean;
use crate::model::{Hub, Name, TaskId, Timestamp};
use crate::operator::{Checked, Word};

/// Where a command goes, who gives it, and whether it may use unknown names.
#[derive(Args, Debug, Clone)]
pub(crate) struct Telling {
    #[command(flatten)]
    pub(super) saying: Saying,
    /// Accept names that the log does not know yet
    #[arg(long)]
    pub(super) force: bool,
}

/// Packages of a collection.
#[derive(Args, Debug)]
pub(crate) struct OfPackages {
    /// Name of the collection
    #[arg(short, long, value_name = "NAME")]
    collection: String,
    /// Names of source packages
    #[arg(required = true)]
    packages: Vec<String>,
    #[command(flatten)]
    telling: Telling,
}

/// The settings of a new collection, or the settings to change.
#[derive(Args, Debug)]
pub(crate) struct CollectionArgs {
    /// Name of the collection
    name: String,
    /// Build target that rebuilds are submitted to
    #[arg(short, long)]
    target: Option<String>,
    /// Build tag: its repositories are resolved
    #[arg(long)]
    build_tag: Option<String>,
    /// Destination tag: its builds and its package list count
    #[arg(long)]
    dest_tag: Option<String>,
    /// Name to display
    #[arg(short, long)]
    display_name: Option<String>,
    /// Name of the hub
    #[arg(long)]
    hub: Option<String>,
    /// Group that is installed in every buildroot
    #[arg(long)]
    build_group: Option<String>,
    /// Factor for the dependency, build and time priority
    #[arg(short = 'p', long, value_parser = coefficient)]
    coefficient: Option<u32>,
    /// Track every package of the destination tag
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    track_all: Option<bool>,
    /// Largest number of rebuilds at a time
    #[arg(long)]
    max_builds: Option<u32>,
    /// Other hub that scratch builds run on; an empty name means the own hub again
    #[arg(long, value_name = "HUB")]
    builds_on: Option<String>,
    /// Build target on the hub of --builds-on
    #[arg(long, value_name = "TARGET")]
    builds_on_target: Option<String>,
    /// Path of the source packages on the hub of --builds-on, relative to its work directory
    /// [default: ..]
    #[arg(long, value_name = "PATH")]
    srpm_root: Option<String>,
    #[command(flatten)]
    telling: Telling,
}

/// One collection, or all.
#[derive(Args, Debug)]
pub(crate) struct MaybeCollection {
    /// Name of the collection; default: all
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Reason, kept in the log
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    telling: Telling,
}

/// The operator commands.
#[derive(Subcommand, Debug)]
pub(crate) enum WordVerb {
    /// Track packages of a collection.
    #[command(after_help = "Example:\n  koschei admin track -c f99-build curl zlib --db koschei.db")]
    Track(OfPackages),
    /// Stop tracking packages.
    #[command(after_help = "Example:\n  koschei admin untrack -c f99-build curl --db koschei.db")]
    Untrack(OfPackages),
    /// Give packages priority points until their next rebuild, or with --static for good.
    #[command(after_help = "Example:\n  koschei admin set-priority -c f99-build --points 300 curl --db koschei.db")]
    SetPriority {
        /// Points, a whole number; 256 lead to a rebuild
        #[arg(long, allow_negative_numbers = true)]
        points: i32,
        /// Keep the points after the next rebuild
        #[arg(long)]
        r#static: bool,
        #[command(flatten)]
        of: OfPackages,
    },
    /// Build packages for other architectures, or take such an override back.
    #[command(
        after_help = "Example:\n  koschei admin set-arch-override -c f99-build --arches '^s390x' gcc --db koschei.db"
    )]
    SetArchOverride {
        /// Architectures to build on (`x86_64 aarch64`), or after `^` those to leave out (`^s390x
        /// ppc64le`); without this option the override is taken back
        #[arg(long)]
        arches: Option<String>,
        #[command(flatten)]
        of: OfPackages,
    },
    /// Rebuild packages without resolving their dependencies first.
    #[command(
        after_help = "Example:\n  koschei admin set-skip-resolution -c f99-build --skip yes glibc --db koschei.db"
    )]
    SetSkipResolution {
        /// Skip the resolution, or resolve again
        #[arg(long, value_name = "yes|no", action = clap::ArgAction::Set, value_parser = yes_no)]
        skip: bool,
        #[command(flatten)]
        of: OfPackages,
    },
    /// Do not rebuild packages before a time. Rebuilds that were decided before continue.
    #[command(
        after_help = "Example:\n  koschei admin hold -c f99-build --until 2027-02-01 --reason 'bootstrap' gcc --db \
            koschei.db"
    )]
    Hold {
        /// Time (2027-02-01T08:00:00Z, 2027-02-01 08:00) or day (2027-02-01, its beginning) until which
        /// the packages are held, in UTC
        #[arg(long, value_name = "TIME", value_parser = until)]
        until: Timestamp,
        /// Reason, kept in the log
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        of: OfPackages,
    },
    /// End the hold of packages. The rules decide about them again.
    #[command(after_help = "Example:\n  koschei admin unhold -c f99-build gcc --db koschei.db")]
    Unhold(OfPackages),
    /// Create a collection from a target or from tags.
    #[command(
        after_help = "Example:\n  koschei admin create-collection f99 --target f99 --build-tag f99-build --dest-tag \
            f99 --track-all yes --db koschei.db"
    )]
    CreateCollection(CollectionArgs),
    /// Change a collection; settings that are not given stay.
    #[command(after_help = "Example:\n  koschei admin edit-collection f99-build --max-builds 5 --db koschei.db")]
    EditCollection(CollectionArgs),
    /// Pause the submission of rebuilds; decisions go on.
    #[command(after_help = "Example:\n  koschei admin pause --reason 'mass rebuild' --db koschei.db")]
    Pause(MaybeCollection),
    /// Resume the submission of rebuilds.
    #[command(after_help = "Example:\n  koschei admin resume --db koschei.db")]
    Resume(MaybeCollection),
    /// Cancel a rebuild that Koschei submitted.
    #[command(after_help = "Example:\n  koschei admin cancel 4711 --db koschei.db")]
    Cancel {
        /// Id of the task in Koji
        task: i64,
        /// Name of the hub
        #[arg(long, default_value = "primary")]
        hub: String,
        /// Reason, kept in the log
        #[arg(long, default_value = "asked for by an operator")]
        reason: String,
        #[command(flatten)]
        telling: Telling,
    },
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie between 0 and 1000")]
fn coefficient(text: &str) -> Result<u32, String> {
    match text.parse::<f64>() {
        Ok(c) if (0.0..=1000.0).contains(&c) => Ok((c * 1000.0).round() as u32),
        _ => Err("must be a number between 0 and 1000".to_owned()),
    }
}

/// Reads a time or a day as `--as-of` does.
fn until(text: &str) -> Result<Timestamp, String> {
    match text.parse() {
        Ok(AsOf::Time(time) | AsOf::Day(time)) => Ok(time),
        _ => Err("say a time (2027-02-01T08:00:00Z, 2027-02-01 08:00) or a day (2027-02-01)".to_owned()),
    }
}

impl WordVerb {
    const fn telling(&self) -> &Telling {
        match self {
            Self::Track(of) | Self::Untrack(of) | Self::Unhold(of) => &of.telling,
            Self::SetPriority { of, .. }
            | Self::SetArchOverride { of, .. }
            | Self::SetSkipResolution { of, .. }
            | Self::Hold { of, .. } => &of.telling,
            Self::CreateCollection(c) | Self::EditCollection(c) => &c.telling,
            Self::Pause(m) | Self::Resume(m) => &m.telling,
            Self::Cancel { telling, .. } => telling,
        }
    }
}

/// Checks a command against the log, puts it into the inbox, and waits for a running service to
/// take it.
pub(crate) async fn run(verb: &WordVerb) -> Done {
    let telling = verb.telling();
    let log = existing(&telling.saying.db.db).await?;
    let said = say(verb, telling, &log).await;
    log.close().await;
    said
}

async fn say(verb: &WordVerb, telling: &Telling, log: &AnyLog) -> Done {
    let (state, _) = state_as_of(log, None).await?;
    let events = events(verb, &state)?;
    if let [Event::CollectionEdited(edit)] = events.as_slice()
        && state.collections.get(&edit.collection).is_some_and(|c| c.settings == edit.settings)
    {
        writeln!(crate::cli::out::stdout(), "nothing changes: `{}` already has these settings", edit.collection)?;
        return Ok(ExitCode::SUCCESS);
    }
    let word = |event: &Event| Word::new(event.clone(), telling.saying.by.clone());
    let words: Vec<Word> = events.iter().map(word).collect();
    let checked = Checked::words(&state, &words, clock::now())?;
    if !telling.force {
        events.iter().try_for_each(|event| known::check(&state, event))?;
    }
    telling.saying.put(log, &checked, async || Ok("done".to_owned())).await
}

fn events(verb: &WordVerb, state: &crate::fold::State) -> Result<Vec<Event>, CliError> {
    let each = |of: &OfPackages, make: &dyn Fn(Name, Name) -> Event| -> Vec<Event> {
        of.packages.iter().map(|p| make(of.collection.as_str().into(), p.as_str().into())).collect()
    };
    Ok(match verb {
        WordVerb::Track(of) => each(of, &|collection, package| PackageTracked { collection, package, by: None }.into()),
        WordVerb::Untrack(of) => {
            each(of, &|collection, package| PackageUntracked { collection, package, by: None }.into())
        }
        WordVerb::SetPriority { points, r#static, of } => {
            let kind = if *r#static { PriorityKind::Static } else { PriorityKind::Manual };
            each(of, &|collection, package| {
                PackagePrioritySet { collection, package, kind, points: *points, by: None }.into()
            })
        }
        WordVerb::SetArchOverride { arches, of } => each(of, &|collection, package| {
            PackageArchOverrideSet { collection, package, arches: arches.clone(), by: None }.into()
        }),
        WordVerb::SetSkipResolution { skip, of } => each(of, &|collection, package| {
            PackageSkipResolutionSet { collection, package, skip: *skip, by: None }.into()
        }),
        WordVerb::Hold { until, reason, of } => each(of, &|collection, package| {
            let (until, reason) = (Some(*until), reason.clone());
            PackageHoldSet { collection, package, until, reason, by: None }.into()
        }),
        WordVerb::Unhold(of) => each(of, &|collection, package| {
            PackageHoldSet { collection, package, until: None, reason: String::new(), by: None }.into()
        }),
        WordVerb::CreateCollection(args) => vec![create(args, state)?],
        WordVerb::EditCollection(args) => vec![edit(args, state)?],
        WordVerb::Pause(m) => vec![
            SubmissionsPaused {
                collection: m.collection.as_deref().map(Name::from),
                by: None,
                reason: m.reason.clone(),
            }
            .into(),
        ],
        WordVerb::Resume(m) => {
            vec![SubmissionsResumed { collection: m.collection.as_deref().map(Name::from), by: None }.into()]
        }
        WordVerb::Cancel { task, hub, reason, .. } => {
            if !verb.telling().force {
                known::hub(state, &Hub::new(hub))?;
            }
            vec![cancel(*task, hub, reason, state)?]
        }
    })
}

fn cancel(task: i64, hub: &str, reason: &str, state: &crate::fold::State) -> Result<Event, CliError> {
    let (hub, task_id) = (Hub::new(hub), TaskId(task));
    let known = state.hubs.get(&hub).and_then(|h| h.tasks.get(&task_id));
    let heard = known.and_then(|t| Some((t.collection.clone()?, t.package.clone(), t.rebuild)));
    // The rebuild was submitted a moment ago, and no message about its task arrived yet.
    let submitted =
        || state.submitted_as(&hub, task_id).map(|(id, r)| (r.collection.clone(), r.package.clone(), Some(id)));
    let Some((collection, package, rebuild)) = heard.or_else(submitted) else {
        return Err(CliError::Rejected(format!(
            "cancel task {task}: it is not a rebuild that Koschei submitted to {hub}"
        )));
    };
    let reason = reason.to_owned();
    Ok(RebuildCancelRequested { collection, package, hub, task_id: Some(task_id), rebuild, reason, by: None }.into())
}

impl CollectionArgs {
    /// Checks whether any setting is given besides the name.
    const fn says_anything(&self) -> bool {
        let Self {
            target,
            build_tag,
            dest_tag,
            display_name,
            hub,
            build_group,
            coefficient,
            track_all,
            max_builds,
            builds_on,
            builds_on_target,
            srpm_root,
            ..
        } = self;
        target.is_some()
            || build_tag.is_some()
            || dest_tag.is_some()
            || display_name.is_some()
            || hub.is_some()
            || build_group.is_some()
            || coefficient.is_some()
            || track_all.is_some()
            || max_builds.is_some()
            || builds_on.is_some()
            || builds_on_target.is_some()
            || srpm_root.is_some()
    }
}

/// Tags that are not given are those of the target, if the log knows it.
fn create(args: &CollectionArgs, state: &crate::fold::State) -> Result<Event, CliError> {
    let hub = Hub::new(args.hub.as_deref().unwrap_or("primary"));
    let target = args.target.clone().unwrap_or_else(|| args.name.clone());
    let known = state.hubs.get(&hub).and_then(|h| h.targets.get(target.as_str()));
    let missing = |what: &str| {
        CliError::Rejected(format!(
            "create collection `{}`: target `{target}` is not known in this log; add --{what}",
            args.name
        ))
    };
    let tag = |said: &Option<String>, known: Option<&Name>, what: &str| match (said, known) {
        (Some(tag), _) => Ok(Name::from(tag.as_str())),
        (None, Some(tag)) => Ok(tag.clone()),
        (None, None) => Err(missing(what)),
    };
    let settings = CollectionSettings {
        display_name: args.display_name.clone().unwrap_or_else(|| args.name.clone()),
        hub,
        build_tag: tag(&args.build_tag, known.map(|(b, _)| b), "build-tag")?,
        dest_tag: tag(&args.dest_tag, known.map(|(_, d)| d), "dest-tag")?,
        target: target.into(),
        build_group: args.build_group.as_deref().unwrap_or("build").into(),
        coefficient: args.coefficient.unwrap_or(1000),
        arches: Vec::new(),
        track_all: args.track_all.unwrap_or(false),
        max_builds: args.max_builds,
        found: false,
        builds_on: builds_on(args, None)?,
    };
    Ok(CollectionCreated { collection: args.name.as_str().into(), settings }.into())
}

/// Returns the other hub that builds. It stays as it was if no option changes it.
fn builds_on(args: &CollectionArgs, known: Option<BuildsOn>) -> Result<Option<BuildsOn>, CliError> {
    let missing =
        |what: &str| CliError::Rejected(format!("build collection `{}` on another hub: add {what}", args.name));
    let (hub, target) = (args.builds_on.as_deref(), args.builds_on_target.as_deref());
    if hub == Some("") {
        return Ok(None);
    }
    if (hub, target, &args.srpm_root) == (None, None, &None) {
        return Ok(known);
    }
    // A target belongs to its hub, so it does not carry over to another hub.
    let known = known.filter(|k| hub.is_none_or(|hub| hub == k.hub.as_str()));
    let known = known.as_ref();
    Ok(Some(BuildsOn {
        hub: hub.map(Hub::new).or_else(|| known.map(|k| k.hub.clone())).ok_or_else(|| missing("--builds-on"))?,
        target: target
            .map(Name::from)
            .or_else(|| known.map(|k| k.target.clone()))
            .ok_or_else(|| missing("--builds-on-target"))?,
        srpm_root: args
            .srpm_root
            .clone()
            .or_else(|| known.map(|k| k.srpm_root.clone()))
            .unwrap_or_else(|| SRPM_ROOT.to_owned()),
    }))
}

fn edit(args: &CollectionArgs, state: &crate::fold::State) -> Result<Event, CliError> {
    let Some(known) = state.collections.get(args.name.as_str()) else {
        let near = did_you_mean(&args.name, state.collections.keys().map(Name::as_str));
        return Err(CliError::Rejected(format!("edit collection `{}`: there is none of that name{near}", args.name)));
    };
    if !args.says_anything() {
        return Err(CliError::Rejected(format!(
            "edit collection `{}`: no option says what to change; see `koschei admin edit-collection --help`",
            args.name
        )));
    }
    let mut settings = known.settings.clone();
    let name = |said: &Option<String>, place: &mut Name| {
        if let Some(said) = said {
            *place = said.as_str().into();
        }
    };
    name(&args.target, &mut settings.target);
    name(&args.build_tag, &mut settings.build_tag);
    name(&args.dest_tag, &mut settings.dest_tag);
    name(&args.build_group, &mut settings.build_group);
    if let Some(display) = &args.display_name {
        settings.display_name.clone_from(display);
    }
    if let Some(hub) = &args.hub {
        settings.hub = Hub::new(hub);
    }
    settings.coefficient = args.coefficient.unwrap_or(settings.coefficient);
    settings.track_all = args.track_all.unwrap_or(settings.track_all);
    settings.max_builds = args.max_builds.or(settings.max_builds);
    settings.builds_on = builds_on(args, settings.builds_on.take())?;
    settings.found = false;
    Ok(CollectionEdited { collection: args.name.as_str().into(), settings }.into())
}
