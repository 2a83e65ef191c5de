//! `koschei admin …`: what operators say, put into the inbox of a log; a running `serve` takes it within a second, else whoever works on
//! the log next.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::open::{existing, state_as_of};
use crate::cli::{CliError, DbArgs, Done};
use crate::engine::clock;
use crate::engine::operator::{self, Word};
use crate::event::operator::SRPM_ROOT;
use crate::event::{
    BuildsOn, CollectionCreated, CollectionEdited, CollectionSettings, Event, PackageArchOverrideSet,
    PackagePrioritySet, PackageSkipResolutionSet, PackageTracked, PackageUntracked, PriorityKind,
    RebuildCancelRequested, SubmissionsPaused, SubmissionsResumed,
};
use crate::log::{AnyLog, Disposition, EventLog, Fate};
use crate::model::{Hub, Name, TaskId};

/// How often it is looked whether a word was taken, when nothing is appended: one that is refused leads to no event.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Where the word goes, and who says it.
#[derive(Args, Debug, Clone)]
pub(crate) struct Saying {
    #[command(flatten)]
    db: DbArgs,
    /// Who says so; kept as a stand-in that can be forgotten
    #[arg(long, value_name = "NAME", env = "SUDO_USER")]
    by: Option<String>,
    /// How long to wait for whoever works on the log to take it
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: u64,
    /// Do not wait, and do not mind if nobody works on the log: whoever does next takes it
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Packages of a collection.
#[derive(Args, Debug)]
pub(crate) struct OfPackages {
    /// The collection
    #[arg(short, long, value_name = "NAME")]
    collection: String,
    /// Source package names
    #[arg(required = true)]
    packages: Vec<String>,
    #[command(flatten)]
    saying: Saying,
}

/// A collection that shall be, or what shall be different about one.
#[derive(Args, Debug)]
pub(crate) struct CollectionArgs {
    /// Its name
    name: String,
    /// Build target to submit to
    #[arg(short, long)]
    target: Option<String>,
    /// Tag whose repositories are resolved
    #[arg(long)]
    build_tag: Option<String>,
    /// Tag whose builds and package list count
    #[arg(long)]
    dest_tag: Option<String>,
    /// Name for people
    #[arg(short, long)]
    display_name: Option<String>,
    /// Hub instance
    #[arg(long)]
    hub: Option<String>,
    /// Group installed in every buildroot
    #[arg(long)]
    build_group: Option<String>,
    /// Multiplies dependency, build and time priority
    #[arg(short = 'p', long, value_parser = coefficient)]
    coefficient: Option<u32>,
    /// Track every package of the dest tag
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    track_all: Option<bool>,
    /// Most rebuilds at a time
    #[arg(long)]
    max_builds: Option<u32>,
    /// Hub instance that scratch builds run on, where that is another one; empty: its own again
    #[arg(long, value_name = "HUB")]
    builds_on: Option<String>,
    /// Build target on the hub of --builds-on
    #[arg(long, value_name = "TARGET")]
    builds_on_target: Option<String>,
    /// Where the hub of --builds-on finds the source packages, relative to its work directory [default: ..]
    #[arg(long, value_name = "PATH")]
    srpm_root: Option<String>,
    #[command(flatten)]
    saying: Saying,
}

/// One collection, or all.
#[derive(Args, Debug)]
pub(crate) struct MaybeCollection {
    /// Only this collection; default: all
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    saying: Saying,
}

/// What operators say.
#[derive(Subcommand, Debug)]
pub(crate) enum WordVerb {
    /// Watch packages of a collection.
    #[command(after_help = "Example:\n  koschei admin track -c f99 curl zlib --db koschei.db")]
    Track(OfPackages),
    /// Do not watch packages any more.
    #[command(after_help = "Example:\n  koschei admin untrack -c f99 curl --db koschei.db")]
    Untrack(OfPackages),
    /// Give packages points: until their next rebuild, or with --static for good.
    #[command(after_help = "Example:\n  koschei admin set-priority -c f99 --points 300 curl --db koschei.db")]
    SetPriority {
        /// Whole points; 256 lead to a rebuild
        #[arg(long, allow_negative_numbers = true)]
        points: i32,
        /// For good
        #[arg(long)]
        r#static: bool,
        #[command(flatten)]
        of: OfPackages,
    },
    /// Build packages for other architectures: `x86_64 aarch64`, all but some (`^s390x ppc64le`), or nothing to take it back.
    #[command(after_help = "Example:\n  koschei admin set-arch-override -c f99 --arches '^s390x' ghc --db koschei.db")]
    SetArchOverride {
        /// Architectures to build on, or with `^` before the first one those not to build on; without it the override is taken back
        #[arg(long)]
        arches: Option<String>,
        #[command(flatten)]
        of: OfPackages,
    },
    /// Rebuild packages without looking at their dependencies first.
    #[command(after_help = "Example:\n  koschei admin set-skip-resolution -c f99 --skip yes kernel --db koschei.db")]
    SetSkipResolution {
        /// Skip or not
        #[arg(long, value_name = "yes|no", value_parser = yes_no)]
        skip: bool,
        #[command(flatten)]
        of: OfPackages,
    },
    /// Make a collection from a target or from tags.
    #[command(
        after_help = "Example:\n  koschei admin create-collection f99 --target f99 --build-tag f99-build --dest-tag f99 --track-all yes --db koschei.db"
    )]
    CreateCollection(CollectionArgs),
    /// Change a collection; what is not said stays.
    #[command(after_help = "Example:\n  koschei admin edit-collection f99 --max-builds 5 --db koschei.db")]
    EditCollection(CollectionArgs),
    /// Submit nothing for the time being; deciding goes on.
    #[command(after_help = "Example:\n  koschei admin pause --reason 'mass rebuild' --db koschei.db")]
    Pause(MaybeCollection),
    /// Submit rebuilds again after a pause.
    #[command(after_help = "Example:\n  koschei admin resume --db koschei.db")]
    Resume(MaybeCollection),
    /// Cancel a rebuild of ours.
    #[command(after_help = "Example:\n  koschei admin cancel 4711 --db koschei.db")]
    Cancel {
        /// The task
        task: i64,
        /// Hub instance
        #[arg(long, default_value = "primary")]
        hub: String,
        /// Why
        #[arg(long, default_value = "asked for by an operator")]
        reason: String,
        #[command(flatten)]
        saying: Saying,
    },
}

fn yes_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err("say `yes` or `no`".to_owned()),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie between 0 and 1000")]
fn coefficient(text: &str) -> Result<u32, String> {
    match text.parse::<f64>() {
        Ok(c) if (0.0..=1000.0).contains(&c) => Ok((c * 1000.0).round() as u32),
        _ => Err("a number between 0 and 1000".to_owned()),
    }
}

impl WordVerb {
    const fn saying(&self) -> &Saying {
        match self {
            Self::Track(of) | Self::Untrack(of) => &of.saying,
            Self::SetPriority { of, .. } | Self::SetArchOverride { of, .. } | Self::SetSkipResolution { of, .. } => {
                &of.saying
            }
            Self::CreateCollection(c) | Self::EditCollection(c) => &c.saying,
            Self::Pause(m) | Self::Resume(m) => &m.saying,
            Self::Cancel { saying, .. } => saying,
        }
    }
}

/// Says it: checks it against the log as it is, puts it into the inbox, and waits for a running service to take it.
pub(crate) async fn run(verb: &WordVerb) -> Done {
    let saying = verb.saying();
    let log = existing(&saying.db.db).await?;
    let said = say(verb, saying, &log).await;
    log.close().await;
    said
}

async fn say(verb: &WordVerb, saying: &Saying, log: &AnyLog) -> Done {
    let (state, _) = state_as_of(log, None).await?;
    let events = events(verb, &state)?;
    for event in &events {
        operator::check(&state, event).map_err(|why| CliError::Rejected(format!("say that: {why}")))?;
    }
    let messages: Vec<_> = events
        .iter()
        .map(|e| operator::message(&Word { event: e.clone(), by: saying.by.clone() }, clock::now()))
        .collect();
    let after = log.head().await?.seq;
    log.receive(&messages).await.map_err(crate::engine::EngineError::from)?;
    let taken = match saying.no_wait {
        true => false,
        false => taken(saying, log, &messages, after).await?,
    };
    let mut out = std::io::stdout();
    if saying.json {
        writeln!(out, "{}", serde_json::json!({ "said": events.len(), "taken": taken }))?;
    } else if taken {
        writeln!(out, "done")?;
    } else if saying.no_wait {
        writeln!(out, "noted; it takes effect when `koschei serve`, `follow` or `ingest` works on this log")?;
    }
    match taken || saying.no_wait {
        true => Ok(ExitCode::SUCCESS),
        false => Err(CliError::Unavailable(format!(
            "be heard within {} seconds: nobody works on this log, or whoever does is busy. It is noted, and takes effect when `koschei serve`, \
             `follow` or `ingest` takes it (`--no-wait` where that is meant)",
            saying.wait
        ))),
    }
}

/// Whether whoever works on the log took the messages within the time given. What is appended with them wakes us.
async fn taken(
    saying: &Saying,
    log: &AnyLog,
    messages: &[crate::log::Incoming],
    mut after: Option<crate::model::Seq>,
) -> Result<bool, CliError> {
    let ids: Vec<&str> = messages.iter().map(|m| m.id.as_str()).collect();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(saying.wait);
    loop {
        let fates = log.fates(&ids).await?;
        let refused = fates.iter().find_map(|fate| match fate {
            Some(Fate::Settled(Disposition::Parked { reason })) => Some(reason),
            _ => None,
        });
        if let Some(why) = refused {
            return Err(CliError::Rejected(format!("say that: {why}")));
        }
        if fates.iter().all(|fate| matches!(fate, Some(Fate::Settled(_)))) {
            return Ok(true);
        }
        let now = tokio::time::Instant::now();
        if now >= deadline {
            return Ok(false);
        }
        if let Ok(head) = tokio::time::timeout_at(deadline.min(now + LOOK_AGAIN), log.changed(after)).await {
            after = head?.seq;
        }
    }
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
        WordVerb::Cancel { task, hub, reason, .. } => vec![cancel(*task, hub, reason, state)?],
    })
}

fn cancel(task: i64, hub: &str, reason: &str, state: &crate::fold::State) -> Result<Event, CliError> {
    let (hub, task_id) = (Hub::new(hub), TaskId(task));
    let known = state.hubs.get(&hub).and_then(|h| h.tasks.get(&task_id));
    let Some((known, collection)) = known.and_then(|t| Some((t, t.collection.clone()?))) else {
        return Err(CliError::Rejected(format!("cancel task {task}: it is no rebuild of ours on {hub}")));
    };
    let package = known.package.clone();
    let rebuild = known.rebuild;
    Ok(RebuildCancelRequested {
        collection,
        package,
        hub,
        task_id: Some(task_id),
        rebuild,
        reason: reason.to_owned(),
        by: None,
    }
    .into())
}

/// Tags that were not said are those of the target, where the log knows it.
fn create(args: &CollectionArgs, state: &crate::fold::State) -> Result<Event, CliError> {
    let hub = Hub::new(args.hub.as_deref().unwrap_or("primary"));
    let target = args.target.clone().unwrap_or_else(|| args.name.clone());
    let known = state.hubs.get(&hub).and_then(|h| h.targets.get(target.as_str()));
    let missing = |what: &str| {
        CliError::Rejected(format!(
            "create collection `{}`: target `{target}` is not known in this log; say --{what} as well",
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

/// Which other hub builds: as it was, unless something else is said.
fn builds_on(args: &CollectionArgs, known: Option<BuildsOn>) -> Result<Option<BuildsOn>, CliError> {
    let missing =
        |what: &str| CliError::Rejected(format!("have collection `{}` built elsewhere: say {what} as well", args.name));
    let (hub, target) = (args.builds_on.as_deref(), args.builds_on_target.as_deref());
    if hub == Some("") {
        return Ok(None);
    }
    if (hub, target, &args.srpm_root) == (None, None, &None) {
        return Ok(known);
    }
    // The target of one hub is not that of another.
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
        return Err(CliError::Rejected(format!("edit collection `{}`: there is none of that name", args.name)));
    };
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
