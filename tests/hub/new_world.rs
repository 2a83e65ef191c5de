//! Sets up the hub of a test: its tags, targets, packages, builds and repositories, in Koji's
//! words.

use super::fault::Fault;
use super::ops::tags::Inherit;
use super::ops::tasks::NewTask;
use super::spec::NewBuild;
use super::state::Hub;
use super::tx::Tx;
use super::value::V;

/// Sets up what the hub has before a test begins. Each method changes the hub at once and panics if
/// the hub refuses the change. [`Self::ready`] discards the messages about these changes.
///
/// ```ignore
/// let lib = NewBuild::new("lib-1-1").binary("lib", &["x86_64"], &[]);
/// NewWorld::on(&hub).release("f99", "x86_64", &["lib"]).builds("f99", [lib]).ready(["f99-build"]);
/// ```
#[must_use = "`ready` makes its repositories"]
pub struct NewWorld<'a>(&'a Hub);

impl<'a> NewWorld<'a> {
    /// Starts with a hub as [`Hub::start`] makes it, with its users, builders and channels.
    pub fn on(hub: &'a Hub) -> Self {
        Self(hub)
    }

    /// Makes any other change, for which this type has no method.
    pub fn and(self, f: impl FnOnce(&mut Tx<'_>) -> Result<(), Fault>) -> Self {
        self.0.change(f);
        self
    }

    /// Creates a tag. `arches` are separated by spaces. A tag that is not a build tag has none.
    pub fn tag(self, name: &str, arches: &str) -> Self {
        self.and(|tx| tx.create_tag(name, arches).map(|_| ()))
    }

    /// Makes a tag inherit from others, the first one first.
    pub fn inherits(self, child: &str, parents: &[&str]) -> Self {
        self.and(|tx| {
            (0..).step_by(10).zip(parents).try_for_each(|(priority, parent)| {
                tx.add_inheritance(child, parent, Inherit { priority, ..Inherit::default() })
            })
        })
    }

    pub fn target(self, name: &str, build_tag: &str, dest_tag: &str) -> Self {
        self.and(|tx| tx.create_target(name, build_tag, dest_tag).map(|_| ()))
    }

    /// Adds packages to the group `build` of a build tag. They are in each of its buildroots.
    pub fn build_group(self, build_tag: &str, packages: &[&str]) -> Self {
        self.and(|tx| tx.add_group_packages(build_tag, "build", packages))
    }

    /// Creates the tags and the target of a distribution's release: a tag, its build tag
    /// `NAME-build` for some architectures, and a target of the tag's name. The build tag inherits
    /// from the tag and has a build group.
    pub fn release(self, name: &str, arches: &str, group: &[&str]) -> Self {
        let build_tag = format!("{name}-build");
        let world = self.tag(name, "").tag(&build_tag, arches).inherits(&build_tag, &[name]);
        world.target(name, &build_tag, name).build_group(&build_tag, group)
    }

    /// Imports builds into a tag, like [`Tx::import_into`].
    pub fn builds(self, tag: &str, builds: impl IntoIterator<Item = NewBuild>) -> Self {
        self.and(|tx| builds.into_iter().try_for_each(|build| tx.import_into(tag, &build)))
    }

    /// Makes a repository of each of these build tags and returns the numbers of the repositories.
    /// The test begins here: nobody receives the messages about earlier changes.
    pub fn ready<const N: usize>(self, build_tags: [&str; N]) -> [i64; N] {
        let repos = build_tags.map(|tag| self.0.change(|tx| tx.new_repo(tag)));
        self.0.take_messages();
        repos
    }
}

impl Tx<'_> {
    /// Tags a build. First adds its package to the tag's list, unless it is on the list or
    /// inherited, and imports the build, unless the hub has it.
    pub fn import_into(&mut self, tag: &str, build: &NewBuild) -> Result<(), Fault> {
        let (tag_id, package) = (self.w.tag(tag, None)?, self.w.package(&build.name));
        if package.is_none_or(|package| self.w.effective_entry(tag_id, package, None).is_none()) {
            self.package_list_add(tag, &build.name, "alice")?;
        }
        if self.w.build_of_nvr(&build.nvr()).is_none() {
            self.import_build(build)?;
        }
        self.tag_build(tag, &build.nvr(), false)
    }

    /// Asks for a scratch build of a source package that the hub has, like a user does, and returns
    /// the task, which is free. `options` are added to `scratch`.
    pub fn scratch_build(&mut self, owner: &str, target: &str, nvr: &str, options: V) -> Result<i64, Fault> {
        let owner = self.user_id(owner)?;
        let V::Struct(mut options) = options else { panic!("options are named: {options:?}") };
        options.insert(0, ("scratch".to_owned(), true.into()));
        let request = vec![NewBuild::new(nvr).source().into(), target.into(), V::Struct(options)];
        Ok(self.make_task(NewTask { owner, ..NewTask::new("build", request) }))
    }
}
